// Who runs a scene: KVM, ring3's interpreter, ring3's translator.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "monitor/kvm/kvm_vcpu.h"
#include "tests/kvm/scene.h"
#include "tests/translator/test_machine.h"

namespace ring3::kvm_test {

enum class End : uint8_t { kStopped, kHalted, kShutdown, kRunaway, kCannot };

struct PortAccess {
  uint16_t port;
  unsigned size;
  bool write;
  uint32_t value;
  bool operator==(const PortAccess&) const = default;
};

/// What a run left behind.
struct Result {
  End end = End::kRunaway;
  std::string trouble;  // kCannot: why
  CpuState state;
  std::vector<uint8_t> memory;
  std::vector<PortAccess> ports;  // but for the stop
};

/// Answers every port; reads give a value made from the port. Notes what was accessed.
class RecordingPorts : public PortDevice {
 public:
  uint32_t ReadPort(uint16_t port, unsigned size) override;
  void WritePort(uint16_t port, unsigned size, uint32_t value) override;
  std::vector<PortAccess> Take(bool& stopped);
  bool Stopped() const { return stopped_; }
  void (*on_stop)(void*) = nullptr;
  void* context = nullptr;

 private:
  std::vector<PortAccess> accesses_;
  bool stopped_ = false;
};

class Subject {
 public:
  virtual ~Subject() = default;
  virtual Result Run(const Scene& scene) = 0;
};

class KvmSubject : public Subject {
 public:
  /// Throws UsageError where /dev/kvm cannot be used.
  KvmSubject();
  Result Run(const Scene& scene) override;
  /// This KVM executes guest code itself where it could have the processor do it, and knows a part of the instructions.
  bool Interprets() const { return interprets_; }
  /// Which modes it has.
  bool Pages() const { return pages_; }
  bool HasV86() const { return has_v86_; }

 private:
  End RunToEnd(Result& result);

  PhysicalMemory physical_{guest::kRamBytes};
  KvmVcpu vcpu_;
  RecordingPorts ports_;
  bool interprets_ = false, pages_ = false, has_v86_ = false;
};

class Ring3Subject : public Subject {
 public:
  explicit Ring3Subject(bool interpreter);
  Result Run(const Scene& scene) override;

 private:
  void NewMachine();
  End RunInterpreted();
  End RunTranslated();

  bool interpreter_;
  std::unique_ptr<TestMachine> machine_;
  RecordingPorts ports_;
  unsigned runs_ = 0;
};

}  // namespace ring3::kvm_test
