# Writes a cpio archive in the "newc" format (Linux: Documentation/driver-api/early-userspace/buffer-format.rst) to
# standard output, entry by entry. Written by hand so that device nodes need neither root nor fakeroot. Sourced.

newc_inode=0

# newc_entry NAME MODE(octal) SIZE NLINK [RDEVMAJOR RDEVMINOR]: one header, its name padded to 4 bytes.
newc_entry() {
  local name=$1 mode=$2 size=$3 links=$4 major=${5:-0} minor=${6:-0}
  newc_inode=$((newc_inode + 1))
  # Fields: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check.
  printf '070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X' \
    "$newc_inode" "0$mode" 0 0 "$links" 0 "$size" 0 0 "$major" "$minor" $((${#name} + 1)) 0
  printf '%s\0' "$name"
  newc_pad $((110 + ${#name} + 1))
}

# Zero bytes up to the next multiple of 4 after $1 bytes.
newc_pad() {
  local missing=$(((4 - $1 % 4) % 4))
  while [ $missing -gt 0 ]; do
    printf '\0'
    missing=$((missing - 1))
  done
}

newc_directory() { newc_entry "$1" 040755 0 2; }
newc_device() { newc_entry "$1" "020$2" 0 1 "$3" "$4"; }

newc_symlink() {
  newc_entry "$1" 120777 ${#2} 1
  printf '%s' "$2"
  newc_pad ${#2}
}

newc_file() {
  local size
  size=$(stat -Lc %s "$3")
  newc_entry "$1" "100$2" "$size" 1
  cat "$3"
  newc_pad "$size"
}

newc_end() { newc_entry 'TRAILER!!!' 0 0 1; }

# initramfs_with NAME FILE: the guests' initramfs, in which FILE is /scripts/NAME; Linux unpacks one archive after another.
initramfs_with() {
  cat "$guests/initramfs.cpio.gz"
  { newc_file "scripts/$1" 755 "$2"; newc_end; } | gzip
}
