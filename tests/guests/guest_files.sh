# Where the guest tests find fetched guests, how they are skipped without them, and their scratch folder. Sourced.

readonly skipped=77
guests=${RING3_GUESTS:-${XDG_CACHE_HOME:-$HOME/.cache}/ring3/guests}

# skip REASON...: ends the test as skipped.
skip() {
  echo "SKIPPED: $*"
  exit $skipped
}
# require_guest NAME...: ends the test as skipped when one of the files is missing; so do the others.
require_guest() {
  local name
  for name in "$@"; do
    [ -s "$guests/$name" ] || skip "$guests/$name is missing (tests/guests/fetch_guests gets it)"
  done
}
require_programs() {
  local program
  for program in "$@"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || skip "$program is not installed"
  done
}
require_seabios() { [ -r /usr/share/seabios/bios-256k.bin ] || skip "seabios is not installed"; }
require_grub() {
  require_programs grub-mkrescue xorriso mformat
  [ -d /usr/lib/grub/i386-pc ] || skip "grub-pc-bin is not installed"
}

# A scratch folder; it and the processes in the background go with the test.
make_scratch() {
  scratch=$(mktemp -d)
  trap clean_up EXIT
}
clean_up() {
  local processes
  processes=$(jobs -p)
  [ -z "$processes" ] || kill $processes 2>/dev/null
  rm -rf "$scratch"
}

# make_grub_cd FILE FOLDER: a CD that GRUB boots, with what the folder holds; its menu is boot/grub/grub.cfg.
make_grub_cd() {
  grub-mkrescue -d /usr/lib/grub/i386-pc -o "$1" "$2" >"$scratch/mkrescue" 2>&1 ||
    skip "grub-mkrescue makes no CD here: $(tail -n 3 "$scratch/mkrescue")"
}

listening() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; } # listening PORT: on this host
# A port that nobody listens on.
free_port() {
  local port
  while port=$((20000 + RANDOM % 12000)) && listening $port; do :; done
  echo $port
}
