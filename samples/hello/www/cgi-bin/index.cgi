#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
echo "hello from $(hostname), version $(cat /app/version), instance ${DEPLOYD_POD_INSTANCE_NO:-?}"
