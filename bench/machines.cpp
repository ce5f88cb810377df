#include "bench/machines.h"

#include <fmt/core.h>
#include <unistd.h>

#include <filesystem>

#include "bench/child.h"
#include "bench/nano_suite.h"

namespace ring3::bench {
namespace {

std::string MissingKvm() { return access("/dev/kvm", R_OK | W_OK) == 0 ? "" : "/dev/kvm cannot be opened"; }

Machine Ring3(const std::string& name, const std::string& title, const std::string& program,
              const std::string& engine) {
  Machine machine{.name = name, .title = title, .kind = MachineKind::kRing3, .program = program, .accelerator = engine};
  if (engine == "kvm") machine.missing = MissingKvm();
  if (access(program.c_str(), X_OK) != 0) machine.missing = "no such program";
  return machine;
}

Machine Qemu(const std::string& name, const std::string& title, const std::string& accelerator) {
  Machine machine{.name = name,
                  .title = title,
                  .kind = MachineKind::kQemu,
                  .program = "qemu-system-i386",
                  .accelerator = accelerator};
  if (accelerator == "kvm") machine.missing = MissingKvm();
  if (!HasProgram(machine.program)) machine.missing = "qemu-system-i386 is not installed";
  return machine;
}

}  // namespace

std::vector<Machine> ChooseMachines(const BenchOptions& options) {
  std::vector<Machine> machines;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  for (const std::string& engine : options.engines)
    machines.push_back(Ring3(engine, engine == "bt" ? "ring3" : "ring3 on KVM", self, engine));
  if (!options.base.empty()) machines.push_back(Ring3("base", "base", options.base, "bt"));
  for (const std::string& other : options.against) {
    if (other == "qemu") machines.push_back(Qemu("qemu", "QEMU TCG", "tcg"));
    if (other == "kvm") machines.push_back(Qemu("qemu-kvm", "QEMU on KVM", "kvm"));
    if (other == "native") machines.push_back({.name = "native", .title = "native", .kind = MachineKind::kNative});
  }
  return machines;
}

std::vector<std::string> BootCommand(const Machine& machine, const Boot& boot) {
  const std::string memory = fmt::format("{}M", boot.memory_mebibytes);
  std::vector<std::string> command{machine.program};
  if (machine.kind == MachineKind::kRing3) {
    for (const std::string& word : {std::string("run"), std::string("--engine"), machine.accelerator})
      command.push_back(word);
  } else {  // no devices but the serial port: the least that QEMU must do
    for (const char* word :
         {"-accel", machine.accelerator.c_str(), "-nodefaults", "-display", "none", "-serial", "stdio"})
      command.push_back(word);
  }
  for (const std::string& word :
       {std::string("-m"), memory, std::string("-no-reboot"), std::string("-device"),
        std::string("isa-debug-exit,iobase=0xf4,iosize=4"), std::string("-kernel"), boot.kernel})
    command.push_back(word);
  if (!boot.initrd.empty()) command.insert(command.end(), {"-initrd", boot.initrd});
  if (!boot.append.empty()) command.insert(command.end(), {"-append", boot.append});
  return command;
}

void LabelInterpretingKvm(std::vector<Machine>& machines, const std::string& kernel) {
  constexpr double kInterpreted = 50;  // cycles: no processor needs as many for a decrement and a jump
  for (Machine& machine : machines) {
    if (machine.accelerator != "kvm" || !machine.missing.empty()) continue;
    const double cycles = MeasurePlainLoop(machine, kernel);
    if (cycles > kInterpreted) machine.title += ", interpreted by the host's KVM";
  }
}

}  // namespace ring3::bench
