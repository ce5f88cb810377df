#!/bin/busybox sh
# A guest for a debugger: says where its kernel's functions are, then opens files and sets a kernel variable for ever.
grep -E ' (_stext|do_sys_openat2|schedule|kernel_init)$' /proc/kallsyms
echo 424242 >/proc/sys/kernel/panic
echo "symbols done"
i=0
while :; do
  i=$((i + 1))
  cat /proc/uptime >/dev/null
  if [ $((i % 50)) = 0 ]; then
    echo "round $i"
    echo $i >/proc/sys/kernel/panic
    echo 424242 >/proc/sys/kernel/panic
  fi
done
