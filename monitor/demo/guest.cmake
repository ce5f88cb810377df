# add_guest_kernel(target OUTPUT file.elf SOURCES ...): a 32-bit Multiboot kernel, built with GCC, whatever compiler the
# monitor is built with, and with none of the host build's flags (sanitizers, coverage, -march would not survive without
# an operating system).
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  set(RING3_GUEST_CC ${CMAKE_C_COMPILER} CACHE INTERNAL "C compiler of guest kernels")
  set(RING3_GUEST_CXX ${CMAKE_CXX_COMPILER} CACHE INTERNAL "C++ compiler of guest kernels")
else()
  find_program(RING3_GUEST_CC gcc REQUIRED)
  find_program(RING3_GUEST_CXX g++ REQUIRED)
endif()
set(RING3_GUEST_DIR ${CMAKE_CURRENT_LIST_DIR}/guest CACHE INTERNAL "sources that guest kernels share")
set(RING3_GUEST_FLAGS
    -m32 -O2 -g -ffreestanding -nostdinc++ -fno-pic -fno-pie -fno-stack-protector -fno-omit-frame-pointer
    -fno-asynchronous-unwind-tables -fcf-protection=none -Wall -Wextra -Werror
    -fno-if-conversion -fno-if-conversion2 # no CMOV before the guest has seen that the CPU has it
    -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -ffile-prefix-map=${CMAKE_BINARY_DIR}=build
    CACHE INTERNAL "compiler flags of guest kernels")
set(RING3_GUEST_CXX_FLAGS
    -std=c++20 -mgeneral-regs-only -fno-exceptions -fno-rtti -fno-threadsafe-statics -Wno-missing-field-initializers
    CACHE INTERNAL "and those for C++ only")

function(add_guest_kernel target)
  cmake_parse_arguments(ARG "" "OUTPUT" "SOURCES" ${ARGN})
  set(objects)
  foreach(source ${ARG_SOURCES})
    get_filename_component(name ${source} NAME)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${target}.objects/${name}.o)
    if(name MATCHES "\\.S$")
      set(compile ${RING3_GUEST_CC} ${RING3_GUEST_FLAGS} -Wa,--noexecstack)
    else()
      set(compile ${RING3_GUEST_CXX} ${RING3_GUEST_FLAGS} ${RING3_GUEST_CXX_FLAGS})
    endif()
    add_custom_command(
      OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/${target}.objects
      COMMAND ${compile} -I${RING3_GUEST_DIR} -MD -MT ${object} -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source}
      DEPFILE ${object}.d
      COMMENT "Building guest object ${name}"
      VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  add_custom_command(
    OUTPUT ${ARG_OUTPUT}
    COMMAND ${CMAKE_LINKER} -m elf_i386 -z max-page-size=4096 -z noexecstack -T ${RING3_GUEST_DIR}/link.ld
            -o ${ARG_OUTPUT} ${objects}
    DEPENDS ${objects} ${RING3_GUEST_DIR}/link.ld
    COMMENT "Linking guest kernel ${ARG_OUTPUT}"
    VERBATIM)
  add_custom_target(${target} ALL DEPENDS ${ARG_OUTPUT})
  set_target_properties(${target} PROPERTIES GUEST_IMAGE ${ARG_OUTPUT})
endfunction()
