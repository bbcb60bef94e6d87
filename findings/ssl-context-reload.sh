#!/bin/sh
# What a server's live ssl.SSLContext serves after load_cert_chain: (1) with the new certificate and the old key, (2) with a
# right pair of another key type. Python's ssl module alone; certificates are made by `cryptography`.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "cryptography==50.0.2"
cd "$work"
cat > seen.py <<'PY'
import datetime
import socket
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

AUTHORITY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.datetime.now(datetime.timezone.utc)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def make(text, key, is_authority=False):
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name(text))
        .issuer_name(name("authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(AUTHORITY, hashes.SHA256())
    )
    with open(text + ".pem", "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    with open(text + ".key", "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


make("authority", AUTHORITY, is_authority=True)
make("first", ec.generate_private_key(ec.SECP256R1()))
make("second", ec.generate_private_key(ec.SECP256R1()))
make("third", rsa.generate_private_key(65537, 2048))

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("first.pem", "first.key")
listener = socket.create_server(("127.0.0.1", 0))


def serve():
    while True:
        accepted, _ = listener.accept()
        try:
            with context.wrap_socket(accepted, server_side=True) as tls:
                tls.recv(1)
                tls.send(b"y")
        except ssl.SSLError:
            accepted.close()


threading.Thread(target=serve, daemon=True).start()
client = ssl.create_default_context(cafile="authority.pem")


def served():
    try:
        plain = socket.create_connection(listener.getsockname())
        with client.wrap_socket(plain, server_hostname="localhost") as tls:
            tls.send(b"x")
            tls.recv(1)
            return dict(part[0] for part in tls.getpeercert()["subject"])["commonName"]
    except ssl.SSLError as error:
        return error.reason


print(ssl.OPENSSL_VERSION)
seen = [served()]
try:
    context.load_cert_chain("second.pem", "first.key")
except ssl.SSLError as error:
    print("load_cert_chain with the key of the one before:", error.reason)
seen.append(served())
context.load_cert_chain("second.pem", "second.key")
seen.append(served())
context.load_cert_chain("third.pem", "third.key")
seen.append(served())
print("at first, after the wrong pair, after the right pair, after a right pair of RSA:", seen)
wanted = ["first", "SSLV3_ALERT_HANDSHAKE_FAILURE", "second", "second"]
raise SystemExit(0 if seen == wanted else f"this changed; it was {wanted}")
PY
"$work/venv/bin/python" --version
"$work/venv/bin/python" seen.py
