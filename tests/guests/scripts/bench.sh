#!/bin/sh
# Times a few workloads. For a host that reads along, whose clock is the better one, each stands between a line
# "begin NAME" and a line "end NAME RESULT"; RESULT must be the same wherever this runs. For a reader there is also
# "bench NAME SECONDS" by the guest's clock, which has 10 ms steps.
# Runs on the host too, for comparison: busybox's programs must come first in PATH, the current folder be writable.
echo "bench: ready"
true_program=$(which true)

uptime_centiseconds() { IFS=' .' read -r whole part rest </proc/uptime && echo $((whole * 100 + ${part#0})); }

bench() { # bench NAME COMMAND...
  name=$1
  shift
  before=$(uptime_centiseconds)
  echo "begin $name"
  result=$("$@" 2>/dev/null)
  echo "end $name $result"
  took=$(($(uptime_centiseconds) - before))
  # Not by printf: a shell that has used it hands its line-buffered terminal stream to the programs it forks.
  echo "bench $name $((took / 100)).$((took / 10 % 10))$((took % 10))"
}

shell_loop() {
  n=0
  while [ $n -lt 20000 ]; do n=$((n + 1)); done
  echo $n
}

fork_exec() {
  n=0
  while [ $n -lt 200 ]; do
    "$true_program" || return
    n=$((n + 1))
  done
  echo $n
}

md5_64MiB() { dd if=/dev/zero bs=1M count=64 | md5sum | cut -d' ' -f1; }

pipe_64MiB() { dd if=/dev/zero bs=64k count=1024 | cat >/dev/null && echo ok; }

# Pseudo-random numbers (Lehmer's generator), so that there is something to sort and to compress.
numbers() { awk 'BEGIN { x = 1; for (i = 0; i < 300000; i++) { x = x * 16807 % 2147483647; print x } }'; }

gzip_numbers() { gzip <numbers | gunzip | md5sum | cut -d' ' -f1; }

sort_numbers() { sort -n numbers | md5sum | cut -d' ' -f1; }

awk_floating_point() { awk 'BEGIN { for (i = 2; i < 300000; i++) s += 1 / (i * i - 1); printf "%.9f", s }'; }

# Every line is a write of its own.
line_writes() { awk 'BEGIN { for (i = 0; i < 100000; i++) print i }' | md5sum | cut -d' ' -f1; }

numbers >numbers
bench shell-loop-20000 shell_loop
bench fork-exec-200 fork_exec
bench md5sum-64MiB md5_64MiB
bench pipe-64MiB pipe_64MiB
bench line-writes-100000 line_writes
bench gzip-3MiB gzip_numbers
bench awk-300000 awk_floating_point
bench sort-300000 sort_numbers
rm -f numbers
echo "bench: done"
