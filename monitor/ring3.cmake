find_package(CLI11 REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
pkg_check_modules(LIBUNWIND REQUIRED IMPORTED_TARGET libunwind)
pkg_check_modules(SLIRP REQUIRED IMPORTED_TARGET slirp)

# The user-mode network, and what the command line says of cards in the PCI slots.
add_library(ring3_expansion STATIC net/slirp_network.cpp numbers.cpp options_net.cpp options_slirp.cpp properties.cpp)
target_link_libraries(ring3_expansion PUBLIC ring3_options ring3_virtio ring3_devices ring3_cpu fmt::fmt Threads::Threads
                                      PRIVATE CLI11::CLI11 PkgConfig::SLIRP)

add_library(ring3_terminal STATIC terminal.cpp)
target_link_libraries(ring3_terminal PUBLIC ring3_options)
add_library(ring3_machine STATIC
  boot_order.cpp bt_engine.cpp callouts.cpp crash_report.cpp exit_trace.cpp firmware.cpp host_check.cpp host_signals.cpp
  kvm/kvm_engine.cpp light_callouts.cpp lockstep/channel.cpp lockstep/memory_compare.cpp lockstep/recorder.cpp
  lockstep/replica.cpp lockstep/report.cpp machine.cpp machine_run.cpp net/boot_rom.cpp net/expansion_cards.cpp options.cpp
  options_display.cpp options_firmware.cpp options_storage.cpp report_file.cpp statistics.cpp step_callout.cpp
  storage/drive_control.cpp storage/drive_options.cpp storage/storage.cpp translating_engine.cpp)
# Control of a running machine.
target_sources(ring3_machine PRIVATE
  control/guest_bytes.cpp control/machine_control.cpp control/pointer_input.cpp control/servers.cpp
  control/socket_address.cpp control/socket_server.cpp control/stdio_monitor.cpp debug_stops.cpp options_control.cpp
  options_qemu.cpp serial_console.cpp serial_line.cpp control/client.cpp
  gdb/packets.cpp gdb/registers.cpp gdb/server.cpp gdb/stub.cpp
  qmp/arguments.cpp qmp/commands.cpp qmp/human_monitor.cpp qmp/input_commands.cpp qmp/json_stream.cpp
  qmp/memory_dump.cpp qmp/register_dump.cpp qmp/session.cpp)
# Light callouts run while the guest's x87 and SSE state is in the registers. (clang: translator/stubs.h)
set_source_files_properties(light_callouts.cpp PROPERTIES COMPILE_OPTIONS "$<$<CXX_COMPILER_ID:GNU>:-mgeneral-regs-only>")
target_compile_definitions(ring3_machine PRIVATE RING3_VERSION="${PROJECT_VERSION}")
target_link_libraries(ring3_machine PUBLIC ring3_options ring3_translator ring3_interpreter ring3_boot ring3_demo ring3_devices ring3_display ring3_expansion ring3_kvm ring3_terminal
                                           fmt::fmt Threads::Threads
                                    PRIVATE CLI11::CLI11 nlohmann_json::nlohmann_json PkgConfig::LIBUNWIND)

add_executable(ring3 main.cpp)
# The compiler's unwinder first: libunwind has the same entry points, but serves exceptions several times slower.
target_link_options(ring3_machine INTERFACE LINKER:--no-as-needed,-lgcc_s,--as-needed)
target_link_libraries(ring3 PRIVATE ring3_machine ring3_bench)
