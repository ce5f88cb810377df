#!/bin/sh
# What a guest must be able to do before ring3 counts as working. One PASS or FAIL line per check, then a last line
# "ring3-acceptance: OK" or "ring3-acceptance: FAILED".
failures=0

check() { # check NAME EXPECTED ACTUAL
  if [ "$2" = "$3" ]; then
    echo "PASS $1"
  else
    echo "FAIL $1: expected '$2', got '$3'"
    failures=$((failures + 1))
  fi
}

fork_loop() {
  n=0
  while [ $n -lt 200 ]; do
    /bin/true || return 1
    n=$((n + 1))
  done
  echo $n
}

gzip_round_trip() {
  seq 1 50000 >/tmp/numbers
  gzip -c /tmp/numbers >/tmp/numbers.gz && gunzip -c /tmp/numbers.gz | cmp - /tmp/numbers && echo same
}

# A handler must run, and the interrupted loop must go on after it.
trapped_signal() {
  (
    got=no
    trap 'got=yes' USR1
    sh -c "kill -USR1 $(sh -c 'echo $PPID')"
    n=0
    while [ $got = no ] && [ $n -lt 100000 ]; do n=$((n + 1)); done
    echo $got
  )
}

# A process that spins must die of a signal that another process sends; 128 + 15 is what the shell then reports.
killed_process() {
  sh -c 'while :; do :; done' &
  victim=$!
  sleep 1
  kill -TERM $victim
  wait $victim
  echo $?
}

tmpfs_mount() {
  mkdir -p /mnt && mount -t tmpfs -o size=4m tmpfs /mnt && echo kept >/mnt/file && cat /mnt/file && umount /mnt
}

clock_advances() {
  before=$(cut -d. -f1 /proc/uptime)
  sleep 2
  after=$(cut -d. -f1 /proc/uptime)
  [ $((after - before)) -ge 2 ] && [ $((after - before)) -le 10 ] && echo yes || echo "$before..$after"
}

# "report a bug" is only the PCI code's advice.
kernel_complaints() {
  dmesg | grep -v 'report a bug' |
    grep -i -w -E 'oops|bug|warn|warning|call trace|panic|lockup|stall|stalls|segfault|nobody cared' | head -n 5
}

mount -t tmpfs tmpfs /tmp
uname -a
check uname "Linux ring3" "$(uname -sn)"
check pipes 5000 "$(seq 1 5000 | cat | sort -n | tail -n 1 | cat)"
check fork-loop 200 "$(fork_loop)"
check md5sum-64MiB 7f614da9329cd3aebf59b91aadc30bf0 "$(dd if=/dev/zero bs=1M count=64 2>/dev/null | md5sum | cut -d' ' -f1)"
check gzip-round-trip same "$(gzip_round_trip 2>&1)"
check awk-newton 1.414213562373 "$(awk 'BEGIN { x = 1; for (i = 0; i < 20; i++) x = (x + 2 / x) / 2; printf "%.12f", x }')"
check awk-exp 2.718281828459 \
  "$(awk 'BEGIN { term = sum = 1; for (i = 1; i < 30; i++) { term /= i; sum += term } printf "%.12f", sum }')"
check awk-telescope 0.749990 "$(awk 'BEGIN { for (i = 2; i < 100000; i++) s += 1 / (i * i - 1); printf "%.6f", s }')"
check trap yes "$(trapped_signal)"
check kill 143 "$(killed_process 2>/dev/null)"
check tmpfs kept "$(tmpfs_mount 2>&1)"
check clock yes "$(clock_advances)"
check exit-status 42 "$(sh -c 'exit 42'; echo $?)"
check kernel-log "" "$(kernel_complaints)"

if [ $failures = 0 ]; then echo "ring3-acceptance: OK"; else echo "ring3-acceptance: FAILED"; fi
