#!/bin/sh
# Times a few workloads in the guest and prints "bench NAME SECONDS" lines (the clock has 10 ms steps).
uptime_centiseconds() { IFS=' .' read -r whole part rest </proc/uptime && echo $((whole * 100 + ${part#0})); }

bench() { # bench NAME COMMAND...
  name=$1
  shift
  begin=$(uptime_centiseconds)
  "$@" >/dev/null 2>&1
  took=$(($(uptime_centiseconds) - begin))
  printf 'bench %s %d.%02d\n' "$name" $((took / 100)) $((took % 100))
}

shell_loop() {
  n=0
  while [ $n -lt 20000 ]; do n=$((n + 1)); done
}

fork_exec() {
  n=0
  while [ $n -lt 200 ]; do
    /bin/true
    n=$((n + 1))
  done
}

md5_64MiB() { dd if=/dev/zero bs=1M count=64 | md5sum; }

pipe_64MiB() { dd if=/dev/zero bs=64k count=1024 | cat; }

bench shell-loop-20000 shell_loop
bench fork-exec-200 fork_exec
bench md5sum-64MiB md5_64MiB
bench pipe-64MiB pipe_64MiB
echo "bench: done"
