#!/bin/sh
# As the script of Kafka's own image: server-start FILE.
exec /opt/java/bin/java ${KAFKA_HEAP_OPTS:--Xmx384m} -XX:+UseSerialGC -Djava.awt.headless=true \
    -Dorg.slf4j.simpleLogger.logFile=System.out -cp "/opt/kafka/libs/*" kafka.Kafka "$@"
