# Runs the demonstration kernel under QEMU's TCG; passes when it ends with its summary and differs from the SDM exactly
# where KNOWN says TCG does. Arguments: QEMU, KERNEL, KNOWN.
execute_process(
  COMMAND ${QEMU} -accel tcg -kernel ${KERNEL} -append checks=quick -nographic -no-reboot
          -device isa-debug-exit,iobase=0xf4,iosize=4
  INPUT_FILE /dev/null
  OUTPUT_VARIABLE output
  TIMEOUT 50)
string(REPLACE "\r" "" output "${output}")

# Brackets and semicolons mean something in CMake's lists.
string(REGEX REPLACE "[][;]" "." output "${output}")
string(REGEX MATCHALL "DIFFERS[^\n]*" seen "${output}")
file(STRINGS ${KNOWN} known REGEX "^DIFFERS")
string(REPLACE "\\;" "." known "${known}")

list(LENGTH known known_count)
if(NOT output MATCHES "ring3 demo: [0-9]+ checks, ${known_count} differ\n")
  message(FATAL_ERROR "no summary with ${known_count} differences:\n${output}")
endif()
if(NOT seen STREQUAL known)
  list(JOIN seen "\n" seen)
  list(JOIN known "\n" known)
  message(FATAL_ERROR "differences are not those known.\nSeen:\n${seen}\nKnown:\n${known}")
endif()
