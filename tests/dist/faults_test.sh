#!/bin/sh
# faults_test.sh MPIRUN PROGRAM FAULT: two ranks, a real fault on rank 1. The job must end in bounded time, with the
# right exit code and an error that says which rank is missing.
mpirun=$1 program=$2 fault=$3
case $fault in
  killed)  code=137 says="signal 9" ;;
  stopped) code=5 says="rank 0: all_reduce #5 did not end within 2.0 s: rank 1 did not come (it is at #4)" ;;
  absent)  code=5 says="rank 0: making a communicator of 2 ranks did not end within 2.0 s" ;;
  throws)  code=3 says="rank 1: the fault of rank 1" ;;
  *) echo "unknown fault: $fault"; exit 2 ;;
esac
begin=$(date +%s)
output=$(timeout 60 "$mpirun" -np 2 "$program" "$fault" 2>&1)
found=$?
seconds=$(($(date +%s) - begin))
echo "$output"
echo "exit code $found after $seconds s, expected $code within 30 s"
[ "$found" -eq "$code" ] && [ "$seconds" -le 30 ] && echo "$output" | grep -qF "$says"
