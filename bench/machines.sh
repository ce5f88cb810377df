# The machines that bench/run compares, and how the host times what they print. Sourced; needs $root, $ring3, $scratch
# and say.

readonly guests=${RING3_GUESTS:-${XDG_CACHE_HOME:-$HOME/.cache}/ring3/guests}
readonly memory=256M
readonly time_limit=900  # seconds for one boot with all workloads
readonly script=bench    # tests/guests/scripts/bench.sh
readonly append="console=ttyS0 quiet ring3.script=$script"

native=no  # yes where busybox's i386 binary runs on this host

# Sets up $scratch/native: busybox's programs, as the guest has them, and a working folder in memory where there is one.
prepare_native() {
  "$guests/busybox" true 2>/dev/null || return 0
  mkdir "$scratch/native"
  "$guests/busybox" --install -s "$scratch/native"
  native_folder=$scratch
  if [ -w /dev/shm ]; then
    native_folder=$(mktemp -d -p /dev/shm)
    trap 'rm -rf "$scratch" "$native_folder"' EXIT
  fi
  # The guest has one CPU. The last of those that this process may use:
  one_cpu=("$(command -v taskset)" -c "$(sed -n 's/^Cpus_allowed_list:\t\(.*[^0-9]\)\?//p' /proc/self/status)")
  native=yes
}

run_machine() {
  case $1 in
    ring3)
      timeout --foreground $time_limit "$ring3" run --kernel "$guests/vmlinuz-686" \
        --initrd "$guests/initramfs.cpio.gz" --memory $memory --append "$append"
      ;;
    qemu)  # no devices but the serial port: the least that QEMU must do at boot
      timeout --foreground $time_limit qemu-system-i386 -accel tcg -m $memory -nodefaults -display none -serial stdio \
        -no-reboot -kernel "$guests/vmlinuz-686" -initrd "$guests/initramfs.cpio.gz" -append "$append"
      ;;
    native)
      (cd "$native_folder" && PATH=$scratch/native exec "${one_cpu[@]}" sh "$root/tests/guests/scripts/$script.sh")
      ;;
  esac
}

# Puts the host's time, in seconds, before each line of standard input as the line arrives.
stamp_lines() {
  local line
  while IFS= read -r line; do printf '%s %s\n' "$EPOCHREALTIME" "${line%$'\r'}"; done
}

# measure MACHINE: runs it once and prints "name<TAB>seconds<TAB>result" per workload; "boot" is from the start of the
# process to the script's first line. A run that fails or is not complete ends the benchmark.
measure() {
  local machine=$1 codes log=$scratch/console errors=$scratch/errors
  echo "$EPOCHREALTIME start" >"$log"
  set +e
  run_machine "$machine" </dev/null 2>"$errors" | stamp_lines >>"$log"
  codes=("${PIPESTATUS[@]}")
  set -e
  if [ "${codes[0]}" != 0 ] || ! grep -aq ' bench: done$' "$log"; then
    say "$machine failed (exit code ${codes[0]}); its last lines:"
    { tail -n 20 "$log" && tail -n 20 "$errors"; } >&2
    exit 1
  fi
  awk -v OFS='\t' -v machine="$machine" '
    $2 == "start" { begin = $1 }
    $2 " " $3 == "bench: ready" && machine != "native" { print "boot", sprintf("%.4f", $1 - begin), "" }
    $2 == "begin" { begin = $1; name = $3 }
    $2 == "end" && $3 == name { print name, sprintf("%.4f", $1 - begin), $4 }' "$log"
}
