#!/bin/sh
# As the script of Kafka's own image: storage format --cluster-id ID --config FILE.
exec /opt/java/bin/java -Xmx128m -XX:+UseSerialGC -Dorg.slf4j.simpleLogger.logFile=System.out \
    -cp "/opt/kafka/libs/*" kafka.tools.StorageTool "$@"
