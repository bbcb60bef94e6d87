"""The local stack: real etcd, Kafka and MongoDB and the cluster's nodes as processes of this user on loopback.

One supervisor process owns all of them. No Docker, no root; everything it writes lies in one data folder.
"""
