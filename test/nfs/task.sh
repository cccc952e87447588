# A task that leaves a trail on the share: one file for each attempt, a line at its start, while it runs, and at its end. Each
# line is on the server before the next command runs, since a file is written through when it is closed.
trail=$1/$TQ_TASK_ID.$TQ_ATTEMPT.$TQ_WORKER
date +'start %s.%N' >> "$trail"
for beat in 1 2 3; do
  sleep 0.1
  date +'beat %s.%N' >> "$trail"
done
date +'stop %s.%N' >> "$trail"
