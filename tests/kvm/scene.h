// A processor state and the memory around it, from which the same few instructions run on KVM and on ring3. Whatever
// memory is not set holds OUT instructions to a port that stops the run, so every way that leads anywhere ends there.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "monitor/cpu/cpu_state.h"

namespace ring3::kvm_test {

/// Guest-physical layout; linear addresses are the same in scenes without paging.
namespace arena {
inline constexpr uint32_t kBytes = 0x48000;
inline constexpr uint32_t kGdt = 0x1000, kLdt = 0x2000, kIdt = 0x3000, kTssA = 0x4000, kTssB = 0x7000, kTss16A = 0x7400,
                          kTss16B = 0x7800, kPageDirectory = 0x8000, kPageTable = 0x9000, kPdpt = 0xA000,
                          kPaeDirectory = 0xB000, kPaeTable = 0xC000;
inline constexpr uint32_t kHandlers = 0x10000, kHandlerStride = 16;
inline constexpr uint32_t kStops = 0x12000;                           // for far transfers to lead to
inline constexpr uint16_t kLowStops = 0xD800;                         // the same for 16-bit offsets
inline constexpr uint32_t kCode = 0x20000, kCodeEnd = 0x30000;        // a page for each trial, in turn
inline constexpr uint32_t kData = 0x30000, kStack = 0x34000;          // kStack: of the code under test
inline constexpr uint32_t kStackOf[3] = {0x36000, 0x37000, 0x38000};  // that the TSS has for CPL 0 to 2
inline constexpr uint32_t kTaskStack = 0x39000;
inline constexpr uint32_t kBehindLargePages[] = {0x300000, 0x100000};  // where accesses through large pages go
inline constexpr uint16_t kStopPort = 0xE6;
inline constexpr uint8_t kStop = 0xE6;  // OUT imm8, AL; twice it is the whole instruction
}  // namespace arena

/// Selectors of segments that are as one expects; RPL is DPL. From kVariants on lie those under test.
constexpr uint16_t CodeSelector(unsigned cpl) { return static_cast<uint16_t>((0x08 + 0x10 * cpl) | cpl); }
constexpr uint16_t DataSelector(unsigned cpl) { return static_cast<uint16_t>((0x10 + 0x10 * cpl) | cpl); }
inline constexpr uint16_t kSelTssA = 0x48, kSelTssB = 0x50, kSelTss16A = 0x58, kSelTss16B = 0x60, kSelLdt = 0x68,
                          kSelCode16 = 0x70, kSelData16 = 0x78, kSelBelow = 0x80;
inline constexpr uint16_t kVariants = 0x100, kVariantCount = 256;
inline constexpr uint16_t kGdtBytes = kVariants + 8 * kVariantCount, kLdtBytes = 8 * kVariantCount;

uint64_t MakeDescriptor(uint32_t base, uint32_t limit20, uint16_t attributes);
uint64_t MakeGate(uint16_t selector, uint32_t offset, unsigned type, unsigned dpl, bool present, unsigned parameters);

using Random = std::mt19937;
inline uint32_t Below(Random& random, uint32_t end) { return static_cast<uint32_t>(random() % end); }
inline bool OneIn(Random& random, uint32_t n) { return Below(random, n) == 0; }
template <class T>
T Choose(Random& random, std::initializer_list<T> of) {
  return of.begin()[Below(random, static_cast<uint32_t>(of.size()))];
}

enum class Mode : uint8_t { kProtected, kReal, kV86 };

struct Scene {
  /// Noise in the general registers; flat segments, tables and task register as above. Real and V86 mode have
  /// paragraphs instead. EIP is in the code area.
  Scene(Mode mode, unsigned cpl, Random& random);

  template <class T>
  void Poke(uint32_t address, T value) {
    std::memcpy(&memory[address], &value, sizeof value);
  }
  template <class T>
  T Peek(uint32_t address) const {
    T value;
    std::memcpy(&value, &memory[address], sizeof value);
    return value;
  }
  /// At CS:EIP.
  void Code(std::initializer_list<uint8_t> bytes) { Code(std::vector<uint8_t>(bytes)); }
  void Code(const std::vector<uint8_t>& bytes);
  void SetGdt(uint16_t selector, uint64_t descriptor) { Poke(arena::kGdt + (selector & ~7u), descriptor); }
  void SetGate(unsigned vector, uint64_t gate) { Poke(arena::kIdt + 8 * vector, gate); }
  /// Every type, DPL and P of descriptors, in GDT and LDT, with bases and limits that mostly lead somewhere.
  void AddVariants(Random& random);
  /// A selector of a variant, or now and then another; any RPL.
  uint16_t AnySelector(Random& random) const;
  /// Dwords on the stack, the last argument lowest; ESP points to it.
  void Stack(std::initializer_list<uint32_t> values);
  void Stack16(std::initializer_list<uint16_t> values);
  /// Identity-maps the arena and the 4 MiB around it with user rights; 4 KiB pages.
  void EnablePaging();
  void EnablePae();

  uint32_t& Reg(Gpr r) { return state.gpr[r]; }
  /// What selector `s` gives when it is loaded.
  SegmentRegister Loaded(uint16_t s) const;

  CpuState state;
  std::vector<uint8_t> memory;
  std::string note;  // what was drawn, for reports

 private:
  void BuildTables();
  void BuildTasks();
};

}  // namespace ring3::kvm_test
