#!/bin/sh
# Waits for the power button, as the kernel's button driver reports it. Last line: "ring3-powerdown: OK" or
# "ring3-powerdown: FAILED".
depmod -a
modprobe evdev
modprobe button
device=$(sed -n '/Name="Power Button"/,/^$/s/.*Handlers=.*\(event[0-9]*\).*/\1/p' /proc/bus/input/devices | head -n 1)
echo "the power button is /dev/input/$device"
echo "ring3-powerdown: ready"
# struct input_event: the time, then EV_KEY, KEY_POWER, pressed
event=$(head -c 16 "/dev/input/$device" | od -A n -j 8 -t x2 | tr -s ' ')
if [ "$event" = " 0001 0074 0001 0000" ]; then
  echo "ring3-powerdown: OK"
else
  echo "got '$event'"
  echo "ring3-powerdown: FAILED"
fi
