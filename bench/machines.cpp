#include "bench/machines.h"

#include <fmt/core.h>
#include <unistd.h>

#include <filesystem>

#include "bench/child.h"
#include "bench/nano_suite.h"
#include "translator/fast_paths.h"

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

std::vector<Machine> MachinesWithout(const std::string& program) {
  std::vector<Machine> machines{Ring3("bt", "ring3", program, "bt")};
  auto add = [&](const std::string& what) {
    machines.push_back(Ring3("without " + what, "without " + what, program, "bt"));
    machines.back().without = what;
  };
  for (const FastPathRow& row : kFastPathRows) {
    if (FastPaths::Usual().Has(row.path)) add(std::string(row.name));
  }
  add("all");
  return machines;
}

}  // namespace

std::vector<Machine> ChooseMachines(const BenchOptions& options) {
  std::vector<Machine> machines;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  if (options.ablate) return MachinesWithout(self);
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
    command.insert(command.end(), {"run", "--engine", machine.accelerator});
    if (!machine.without.empty()) command.insert(command.end(), {"--without", machine.without});
  } else {  // no devices but the serial port: the least that QEMU must do
    command.insert(command.end(),
                   {"-accel", machine.accelerator, "-nodefaults", "-display", "none", "-serial", "stdio"});
  }
  command.insert(command.end(), {"-m", memory, "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
                                 "-kernel", boot.kernel});
  if (!boot.initrd.empty()) command.insert(command.end(), {"-initrd", boot.initrd});
  if (!boot.append.empty()) command.insert(command.end(), {"-append", boot.append});
  command.insert(command.end(), boot.devices.begin(), boot.devices.end());
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
