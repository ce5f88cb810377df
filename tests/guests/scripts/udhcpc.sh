#!/bin/sh
# What udhcpc runs when it has a lease. The first card gets the default route and the name server.
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr flush dev "$interface"
ip addr add "$ip/${mask:-24}" dev "$interface"
if [ "$interface" = eth0 ]; then
  ip route add default via "$router"
  echo "nameserver $dns" >/etc/resolv.conf
fi
