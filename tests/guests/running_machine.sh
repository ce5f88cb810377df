# A ring3 that runs in the background while the test looks at it and types at it. Sourced behind make_scratch; $ring3 is
# the program. The guest's serial port is for $serial, the control socket is $control.

machine=""
serial=$scratch/serial control=$scratch/control

# start OPTION...: "ring3 run", as $machine
start() {
  "$ring3" run --serial "file:$serial" --control "$control" "$@" </dev/null 2>"$scratch/stderr" &
  machine=$!
}
give_up() { # give_up PROBLEM...
  echo "PROBLEM: $*"
  tail -n 40 "$serial" "$scratch"/*.log "$scratch/stderr" 2>/dev/null
  exit 1
}
# wait_for SECONDS COMMAND...: until the command succeeds; gives up when time is over or the machine gone.
wait_for() {
  local i
  for ((i = 0; i < $1 * 5; ++i)); do
    "${@:2}" && return
    [ -z "$machine" ] || kill -0 "$machine" 2>/dev/null || { "${@:2}" && return; give_up "the machine has stopped"; }
    sleep 0.2
  done
  give_up "nothing came of: ${*:2}"
}
on_serial() { grep -qas -e "$1" "$serial"; } # on_serial PATTERN
on_screen() { "$ring3" text --control "$control" 2>/dev/null | grep -q -e "$1"; }
types() { "$ring3" type --control "$control" "$@" || give_up "cannot type $*"; } # types TEXT or --keys KEYS
