#!/bin/sh
# Runs in an installed Debian: packages go in and out, files come and go. Leaves /srv/churn, on the disk.
set -e
rm -rf /srv/churn
mkdir -p /srv/churn && cd /srv/churn
for package in /srv/packages/*.deb; do dpkg -i "$package" >/dev/null 2>&1 || { echo "churn: dpkg -i $package fails"; exit 1; }; done
dpkg --purge nano >/dev/null 2>&1
less --version >less-version
for round in 1 2 3; do
  mkdir round$round
  for i in $(seq 150); do head -c $((i * 97)) /dev/urandom >round$round/file$i; done
  cp -a /etc round$round/
  find round$round -name '*7' -type f -delete
  dd if=/dev/urandom of=round$round/synced bs=64k count=16 conv=fsync 2>/dev/null
  tar -cf round$round.tar round$round
  mv round$round/file1 round$round/moved
  ln round$round/moved round$round/linked
  truncate -s 100000 round$round/file2
done
rm -rf round2
sync
dpkg --audit
