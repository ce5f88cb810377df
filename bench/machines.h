// What is compared: ring3 by its engines, another ring3, QEMU by its accelerators, and the host itself.
#pragma once

#include <string>
#include <vector>

#include "bench/options.h"

namespace ring3::bench {

enum class MachineKind { kRing3, kQemu, kNative };

struct Machine {
  std::string name;   // in JSON and as the column's key: bt, kvm, base, qemu, qemu-kvm, native
  std::string title;  // in tables
  MachineKind kind = MachineKind::kRing3;
  std::string program;      // ring3's or QEMU's
  std::string accelerator;  // ring3's engine or QEMU's accelerator
  std::string without;      // a fast path of ring3's to do without; empty: none
  std::string missing;      // why it cannot be measured; empty: it can
};

/// A guest to boot.
struct Boot {
  std::string kernel, initrd, append;
  unsigned memory_mebibytes = 64;
  std::vector<std::string> devices;  // options that ring3 and QEMU share
};

/// The machines that the options ask for, ring3's first. For an ablation: ring3, then ring3 without one thing each.
std::vector<Machine> ChooseMachines(const BenchOptions& options);

/// The command that boots a guest on a machine other than the native one; COM1 is standard output.
std::vector<std::string> BootCommand(const Machine& machine, const Boot& boot);

/// Says in the titles of those machines that use /dev/kvm if it interprets 32-bit code instead of running it.
/// `kernel` is the nano suite's.
void LabelInterpretingKvm(std::vector<Machine>& machines, const std::string& kernel);

}  // namespace ring3::bench
