#!/bin/sh
# Holds $1 MiB for as long as file $2 is there, having burnt some processor time.
i=0
while [ $i -lt 100000 ]; do i=$((i + 1)); done
block=$(head -c "$(($1 * 1024 * 1024))" /dev/zero | tr '\0' x)
while [ -e "$2" ]; do sleep 0.05; done
: "${#block}"
