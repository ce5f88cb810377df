#!/bin/sh
# Network cards, entropy, shared folders and a virtio disk, with Debian's drivers. The kernel's command line has
# ring3.http=PORT of a server on the host, ring3.size=BYTES and ring3.sum=MD5 of its file "data"; the host leaves a file
# "done" in the share "rw" once it has talked to port 7. One PASS or FAIL line per check.
failures=0

check() { # check NAME EXPECTED ACTUAL
  if [ "$2" = "$3" ]; then
    echo "PASS $1"
  else
    echo "FAIL $1: expected '$2', got '$3'"
    failures=$((failures + 1))
  fi
}

option() { sed -n "s/.*ring3\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; }

refused() { "$@" 2>/dev/null && echo no || echo yes; }

network_card() { # network_card INTERFACE GATEWAY NAME
  ip link set "$1" up
  udhcpc -i "$1" -n -q -s /scripts/udhcpc -t 5 -T 3 >/dev/null 2>&1
  check "$3-lease" "${2%.2}.15" "$(ip addr show dev "$1" | sed -n 's/.*inet \([0-9.]*\).*/\1/p')"
  check "$3-http" "$(option sum)" "$(timeout 90 wget -q -O - "http://$2:$(option http)/data" | md5sum | cut -d' ' -f1)"
}

depmod
for driver in 8139cp 8139too ne2k-pci virtio_pci virtio_net virtio-rng virtio_blk 9pnet_virtio 9p; do
  modprobe $driver || check "driver-$driver" loaded missing
done
mkdir -p /mnt/rw /mnt/ro
mount -t tmpfs tmpfs /tmp

# Interfaces take their numbers in the order of the drivers above.
network_card eth0 10.0.2.2 rtl8139
network_card eth1 10.0.3.2 rtl8139c
network_card eth2 10.0.4.2 ne2k_pci
network_card eth3 10.0.5.2 virtio-net

check hwrng virtio_rng.0 "$(cat /sys/class/misc/hw_random/rng_current)"
check hwrng-bytes 4096 "$(head -c 4096 /dev/hwrng | wc -c)"
check hwrng-differs yes "$([ "$(head -c 32 /dev/hwrng | md5sum)" != "$(head -c 32 /dev/hwrng | md5sum)" ] && echo yes)"

check disk-size 65536 "$(cat /sys/block/vda/size)"
dd if=/dev/urandom of=/tmp/random bs=1M count=8 2>/dev/null
dd if=/tmp/random of=/dev/vda bs=1M seek=3 conv=fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
check disk-content "$(md5sum </tmp/random)" "$(dd if=/dev/vda bs=1M skip=3 count=8 2>/dev/null | md5sum)"

mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 rw /mnt/rw
mount -t 9p -o trans=virtio,version=9p2000.L ro /mnt/ro
check share-read hello "$(cat /mnt/rw/hello)"
cp /tmp/random /mnt/rw/copy
check share-write "$(md5sum </tmp/random)" "$(md5sum </mnt/rw/copy)"
mkdir /mnt/rw/folder && mv /mnt/rw/copy /mnt/rw/folder/moved && ln -s moved /mnt/rw/folder/link
chmod 600 /mnt/rw/folder/moved
check share-names "-rw------- lrwxrwxrwx" "$(cd /mnt/rw/folder && ls -l moved link | cut -c1-10 | sort | xargs)"
for i in $(seq 100); do echo "$i" >"/mnt/rw/folder/file$i"; done
check share-list 102 "$(ls /mnt/rw/folder | wc -l)"
rm -r /mnt/rw/folder
check share-remove no "$([ -e /mnt/rw/folder ] && echo yes || echo no)"
check share-read-only yes "$(refused sh -c 'echo x >/mnt/ro/new')"
check share-escape-link yes "$(refused cat /mnt/rw/escape)"
check share-escape-dots yes "$(refused cat /mnt/rw/up/secret /mnt/rw/../../secret)"

nc -l -p 7 -e cat &
n=0
while [ ! -e /mnt/rw/done ] && [ $n -lt 120 ]; do sleep 1; n=$((n + 1)); done
check hostfwd yes "$([ -e /mnt/rw/done ] && echo yes)"
umount /mnt/rw /mnt/ro
if [ $failures = 0 ]; then echo "ring3-cards: OK"; else echo "ring3-cards: FAILED"; fi
