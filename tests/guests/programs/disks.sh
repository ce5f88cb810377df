#!/bin/busybox sh
# What a guest does with its disks; ring3.disks=NAME on the kernel's command line says which.
name=$(sed 's/.*ring3.disks=\([a-z]*\).*/\1/' /proc/cmdline)

fail() {
  echo "FAIL $*"
  exit 1
}

load() {
  depmod -a
  for module in ata_piix sd_mod sr_mod; do modprobe $module || fail "modprobe $module"; done
  for second in 1 2 3 4 5 6 7 8 9 10; do
    [ -b /dev/sda ] && return
    sleep 1
  done
  fail "no /dev/sda"
}

files() {
  modprobe crc32c_generic
  modprobe ext4 || fail "modprobe ext4"
  modprobe isofs || fail "modprobe isofs"
  mkdir -p /disk /disc
  mke2fs -F /dev/sda >/dev/null && mount -t ext4 /dev/sda /disk || fail "no file system"
  for i in 0 1 2 3 4 5 6 7; do dd if=/dev/urandom of=/disk/$i bs=64k count=24 2>/dev/null; done
  md5sum /disk/[0-7] >/tmp/sums
  rm /disk/3 && cp /disk/4 /disk/3 && cp /disk/5 /disk/copy && md5sum /disk/[0-7] /disk/copy >/disk/sums && sync
  umount /disk && echo 3 >/proc/sys/vm/drop_caches
  mount -t ext4 /dev/sda /disk && md5sum -c -s /disk/sums || fail "files changed on the disk"
  umount /disk
  mount -t iso9660 -o ro /dev/sr0 /disc && (cd /disc && md5sum -c -s sums) || fail "the CD-ROM reads wrongly"
  umount /disc
}

floppy() {
  modprobe floppy || fail "modprobe floppy"
  dd if=/dev/urandom of=/tmp/track bs=18k count=3 2>/dev/null
  dd if=/tmp/track of=/dev/fd0 bs=18k seek=20 conv=fsync 2>/dev/null || fail "the diskette cannot be written"
  echo 3 >/proc/sys/vm/drop_caches
  dd if=/dev/fd0 bs=18k skip=20 count=3 2>/dev/null | cmp - /tmp/track || fail "the diskette reads wrongly"
}

# Tells what was acknowledged after a flush, until the host kills the machine.
acknowledged() {
  i=0
  while [ $i -lt 1000 ]; do
    dd if=/dev/urandom of=/tmp/block bs=64k count=1 2>/dev/null
    dd if=/tmp/block of=/dev/sda bs=64k seek=$((i * 7 % 1000)) conv=fsync 2>/dev/null || fail "write $i"
    echo "written $((i * 7 % 1000)) $(md5sum </tmp/block)"
    i=$((i + 1))
  done
}

# The host has no room for all of it: the write fails, what was written before can be read.
full() {
  dd if=/dev/urandom of=/dev/sda bs=64k count=16 conv=fsync 2>/dev/null || fail "the first write"
  dd if=/dev/sda bs=64k count=16 2>/dev/null | md5sum >/tmp/before
  dd if=/dev/zero of=/dev/sda bs=1M seek=1 count=60 conv=fsync 2>/dev/null && fail "a write without room succeeds"
  echo 3 >/proc/sys/vm/drop_caches
  dd if=/dev/sda bs=64k count=16 2>/dev/null | md5sum | cmp - /tmp/before || fail "what was written before"
}

# The host cuts the image off at 32 MiB.
shrunk() {
  dd if=/dev/sda of=/dev/null bs=1M count=64 2>/dev/null || fail "the first read"
  echo 3 >/proc/sys/vm/drop_caches
  echo "ready to be shrunk"
  read -t 60 line
  dd if=/dev/sda of=/dev/null bs=1M count=16 2>/dev/null || fail "a read of what is still there"
  dd if=/dev/sda of=/dev/null bs=1M skip=40 count=4 2>/dev/null && fail "a read of what is gone succeeds"
  dd if=/dev/zero of=/dev/sda bs=1M seek=40 count=1 conv=fsync 2>/dev/null && fail "a write to what is gone succeeds"
  return 0
}

load
echo "disks are there"
case $name in
  files) files && floppy ;;
  *) $name ;;
esac
echo "ring3-disks: OK"
