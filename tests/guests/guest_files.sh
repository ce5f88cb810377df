# Where the tests find fetched guests, and how they skip without them. Sourced.

readonly skipped=77
guests=${RING3_GUESTS:-${XDG_CACHE_HOME:-$HOME/.cache}/ring3/guests}

# require_guest NAME...: ends the test as skipped when one of the files is missing.
require_guest() {
  local name
  for name in "$@"; do
    if [ ! -s "$guests/$name" ]; then
      echo "SKIPPED: $guests/$name is missing (tests/guests/fetch_guests gets it)"
      exit $skipped
    fi
  done
}

# A scratch folder that goes with the process.
make_scratch() {
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
}
