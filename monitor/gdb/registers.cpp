#include "monitor/gdb/registers.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <vector>

#include "monitor/interpreter/fpu_state.h"

namespace ring3::gdb {
namespace {

constexpr unsigned kX87Registers = 8, kX87Bytes = 10;

/// What a register is in CpuState.
enum class Kind : uint8_t { kGpr, kEip, kEflags, kSelector, kX87, kX87Control, kXmm, kMxcsr, kSystem };

struct Register {
  std::string name;
  unsigned bytes;
  std::string_view type, group;
  Kind kind;
  unsigned index;
};

enum X87Control : unsigned { kFctrl, kFstat, kFtag, kFiseg, kFioff, kFoseg, kFooff, kFop };
enum System : unsigned {
  kCr0,
  kCr2,
  kCr3,
  kCr4,
  kEfer,
  kFsBase,
  kGsBase,
  kGdtBase,
  kGdtLimit,
  kIdtBase,
  kIdtLimit,
  kLdtr,
  kTr
};

// The order in which gdb's standard feature has the segment registers.
constexpr Seg kSegOrder[] = {Seg::kCs, Seg::kSs, Seg::kDs, Seg::kEs, Seg::kFs, Seg::kGs};
constexpr std::string_view kGprNames[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
constexpr std::string_view kSegNames[] = {"cs", "ss", "ds", "es", "fs", "gs"};
constexpr std::string_view kX87Names[] = {"fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"};
constexpr std::string_view kSystemNames[] = {"cr0",       "cr2",     "cr3",      "cr4",       "efer",
                                             "fs_base",   "gs_base", "gdt_base", "gdt_limit", "idt_base",
                                             "idt_limit", "ldtr",    "tr"};

constexpr unsigned kFirstSse = 32, kFirstSystem = 41;

std::vector<Register> MakeRegisters() {
  std::vector<Register> all;
  for (unsigned i = 0; i < kGprCount; ++i) {
    const bool pointer = i == kEsp || i == kEbp;
    all.push_back({std::string(kGprNames[i]), 4, pointer ? "data_ptr" : "int32", "general", Kind::kGpr, i});
  }
  all.push_back({"eip", 4, "code_ptr", "general", Kind::kEip, 0});
  all.push_back({"eflags", 4, "i386_eflags", "general", Kind::kEflags, 0});
  for (unsigned i = 0; i < std::size(kSegOrder); ++i) {
    all.push_back({std::string(kSegNames[i]), 4, "int32", "general", Kind::kSelector, i});
  }
  for (unsigned i = 0; i < kX87Registers; ++i) {
    all.push_back({fmt::format("st{}", i), kX87Bytes, "i387_ext", "float", Kind::kX87, i});
  }
  for (unsigned i = 0; i < std::size(kX87Names); ++i) {
    all.push_back({std::string(kX87Names[i]), 4, "int", "float", Kind::kX87Control, i});
  }
  for (unsigned i = 0; i < kVectorCount; ++i) {
    all.push_back({fmt::format("xmm{}", i), kXmmBytes, "vec128", "vector", Kind::kXmm, i});
  }
  all.push_back({"mxcsr", 4, "i386_mxcsr", "vector", Kind::kMxcsr, 0});
  for (unsigned i = 0; i < std::size(kSystemNames); ++i) {
    all.push_back({std::string(kSystemNames[i]), i == kEfer ? 8u : 4u, i == kEfer ? "uint64" : "uint32", "system",
                   Kind::kSystem, i});
  }
  return all;
}

const std::vector<Register>& Registers() {
  static const std::vector<Register> registers = MakeRegisters();
  return registers;
}

/// Two bits each by physical number: 0 valid, 1 zero, 2 special, 3 empty (SDM 1, 8.1.7), from the image's one bit each.
uint16_t FullTags(const CpuState& state) {
  const auto abridged = LoadFx<uint8_t>(state, fxsave::kFtw);
  const unsigned top = (LoadFx<uint16_t>(state, fxsave::kFsw) & x87::kTopMask) >> x87::kTopShift;
  uint16_t tags = 0;
  for (unsigned physical = 0; physical < kX87Registers; ++physical) {
    unsigned tag = 3;
    if (abridged >> physical & 1) {
      const unsigned slot = fxsave::kSt0 + fxsave::kSlot * ((physical - top) & 7);
      const auto significand = LoadFx<uint64_t>(state, slot);
      const unsigned exponent = LoadFx<uint16_t>(state, slot + 8) & 0x7FFF;
      const bool normal = exponent != 0 && exponent != 0x7FFF && significand >> 63;
      tag = normal ? 0 : exponent == 0 && significand == 0 ? 1 : 2;
    }
    tags = static_cast<uint16_t>(tags | tag << 2 * physical);
  }
  return tags;
}

uint8_t AbridgedTags(uint32_t full) {
  uint8_t abridged = 0;
  for (unsigned i = 0; i < kX87Registers; ++i) {
    if ((full >> 2 * i & 3) != 3) abridged = static_cast<uint8_t>(abridged | 1u << i);
  }
  return abridged;
}

uint32_t ReadX87Control(const CpuState& state, unsigned index) {
  switch (index) {
    case kFctrl:
      return LoadFx<uint16_t>(state, fxsave::kFcw);
    case kFstat:
      return LoadFx<uint16_t>(state, fxsave::kFsw);
    case kFtag:
      return FullTags(state);
    case kFiseg:
      return LoadFx<uint16_t>(state, fxsave::kFcs);
    case kFioff:
      return LoadFx<uint32_t>(state, fxsave::kFip);
    case kFoseg:
      return LoadFx<uint16_t>(state, fxsave::kFds);
    case kFooff:
      return LoadFx<uint32_t>(state, fxsave::kFdp);
    default:
      return LoadFx<uint16_t>(state, fxsave::kFop);
  }
}

void WriteX87Control(CpuState& state, unsigned index, uint32_t value) {
  constexpr uint16_t kControlBits = 0x1F3F, kControlFixed = 0x0040, kOpcodeBits = 0x7FF;
  switch (index) {
    case kFctrl:
      return StoreFx(state, fxsave::kFcw, static_cast<uint16_t>((value & kControlBits) | kControlFixed));
    case kFstat:
      return StoreFx(state, fxsave::kFsw, static_cast<uint16_t>(value));
    case kFtag:
      return StoreFx(state, fxsave::kFtw, AbridgedTags(value));
    case kFiseg:
      return StoreFx(state, fxsave::kFcs, static_cast<uint16_t>(value));
    case kFioff:
      return StoreFx(state, fxsave::kFip, value);
    case kFoseg:
      return StoreFx(state, fxsave::kFds, static_cast<uint16_t>(value));
    case kFooff:
      return StoreFx(state, fxsave::kFdp, value);
    default:
      return StoreFx(state, fxsave::kFop, static_cast<uint16_t>(value & kOpcodeBits));
  }
}

uint64_t ReadSystem(const CpuState& state, unsigned index) {
  switch (index) {
    case kCr0:
      return state.cr0;
    case kCr2:
      return state.cr2;
    case kCr3:
      return state.cr3;
    case kCr4:
      return state.cr4;
    case kEfer:
      return state.efer;
    case kFsBase:
      return state.Segment(Seg::kFs).base;
    case kGsBase:
      return state.Segment(Seg::kGs).base;
    case kGdtBase:
      return state.gdtr.base;
    case kGdtLimit:
      return state.gdtr.limit;
    case kIdtBase:
      return state.idtr.base;
    case kIdtLimit:
      return state.idtr.limit;
    case kLdtr:
      return state.ldtr.selector;
    default:
      return state.tr.selector;
  }
}

bool WriteSystem(CpuState& state, unsigned index, uint64_t value) {
  if (index == kCr2) state.cr2 = static_cast<uint32_t>(value);
  return index == kCr2 || ReadSystem(state, index) == value;
}

void WriteEflags(CpuState& state, uint32_t value) {
  constexpr uint32_t kWritable = eflags::kDefined & ~eflags::kVm;  // V86 mode is more than its flag
  state.eflags = (state.eflags & ~kWritable) | (value & kWritable);
}

bool WriteSelector(CpuState& state, Seg segment, uint32_t value) {
  SegmentRegister& held = state.Segment(segment);
  if (value == held.selector) return true;
  if ((state.ProtectedMode() && !state.V86()) || value > 0xFFFF) return false;
  held.selector = static_cast<uint16_t>(value);
  held.base = value << 4;
  return true;
}

template <class T>
T Load(std::span<const uint8_t> bytes) {
  T value = 0;
  std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
  return value;
}

template <class T>
void Store(std::span<uint8_t> out, T value) {
  std::memcpy(out.data(), &value, std::min(out.size(), sizeof value));
}

std::string Fields(std::initializer_list<std::pair<unsigned, std::string_view>> bits) {
  std::string text;
  for (const auto& [bit, name] : bits)
    text += fmt::format("<field name=\"{}\" start=\"{}\" end=\"{}\"/>", name, bit, bit);
  return text;
}

std::string FlagTypes() {
  return "<flags id=\"i386_eflags\" size=\"4\">" +
         Fields({{0, "CF"},
                 {1, ""},
                 {2, "PF"},
                 {4, "AF"},
                 {6, "ZF"},
                 {7, "SF"},
                 {8, "TF"},
                 {9, "IF"},
                 {10, "DF"},
                 {11, "OF"},
                 {14, "NT"},
                 {16, "RF"},
                 {17, "VM"},
                 {18, "AC"},
                 {19, "VIF"},
                 {20, "VIP"},
                 {21, "ID"}}) +
         "</flags>";
}

std::string VectorTypes() {
  std::string text;
  struct Row {
    std::string_view id, type;
    unsigned count;
    std::string_view field;
  };
  constexpr Row kRows[] = {{"v4f", "ieee_single", 4, "v4_float"}, {"v2d", "ieee_double", 2, "v2_double"},
                           {"v16i8", "int8", 16, "v16_int8"},     {"v8i16", "int16", 8, "v8_int16"},
                           {"v4i32", "int32", 4, "v4_int32"},     {"v2i64", "int64", 2, "v2_int64"}};
  for (const Row& row : kRows) {
    text += fmt::format("<vector id=\"{}\" type=\"{}\" count=\"{}\"/>", row.id, row.type, row.count);
  }
  text += "<union id=\"vec128\">";
  for (const Row& row : kRows) text += fmt::format("<field name=\"{}\" type=\"{}\"/>", row.field, row.id);
  text += "<field name=\"uint128\" type=\"uint128\"/></union><flags id=\"i386_mxcsr\" size=\"4\">";
  return text +
         Fields({{0, "IE"},
                 {1, "DE"},
                 {2, "ZE"},
                 {3, "OE"},
                 {4, "UE"},
                 {5, "PE"},
                 {6, "DAZ"},
                 {7, "IM"},
                 {8, "DM"},
                 {9, "ZM"},
                 {10, "OM"},
                 {11, "UM"},
                 {12, "PM"},
                 {15, "FZ"}}) +
         "</flags>";
}

std::string Feature(std::string_view name, const std::string& types, unsigned first, unsigned end) {
  std::string text = fmt::format("<feature name=\"{}\">{}\n", name, types);
  for (unsigned i = first; i < end; ++i) {
    const Register& r = Registers()[i];
    text += fmt::format("<reg name=\"{}\" bitsize=\"{}\" type=\"{}\" regnum=\"{}\" group=\"{}\"/>\n", r.name,
                        r.bytes * 8, r.type, i, r.group);
  }
  return text + "</feature>\n";
}

}  // namespace

unsigned RegisterCount() { return static_cast<unsigned>(Registers().size()); }

unsigned RegisterBytes(unsigned number) { return number < RegisterCount() ? Registers()[number].bytes : 0; }

unsigned AllRegisterBytes() {
  unsigned bytes = 0;
  for (const Register& r : Registers()) bytes += r.bytes;
  return bytes;
}

void ReadRegister(const CpuState& state, unsigned number, std::span<uint8_t> out) {
  const Register& r = Registers()[number];
  switch (r.kind) {
    case Kind::kGpr:
      return Store(out, state.gpr[r.index]);
    case Kind::kEip:
      return Store(out, state.eip);
    case Kind::kEflags:
      return Store(out, state.eflags);
    case Kind::kSelector:
      return Store(out, uint32_t{state.Segment(kSegOrder[r.index]).selector});
    case Kind::kX87:
      std::copy_n(&state.fxsave[fxsave::kSt0 + fxsave::kSlot * r.index], kX87Bytes, out.begin());
      return;
    case Kind::kX87Control:
      return Store(out, ReadX87Control(state, r.index));
    case Kind::kXmm:
      std::copy_n(&state.fxsave[fxsave::kXmm0 + kXmmBytes * r.index], kXmmBytes, out.begin());
      return;
    case Kind::kMxcsr:
      return Store(out, LoadFx<uint32_t>(state, fxsave::kMxcsr));
    case Kind::kSystem:
      return Store(out, ReadSystem(state, r.index));
  }
}

bool WriteRegister(CpuState& state, unsigned number, std::span<const uint8_t> value) {
  const Register& r = Registers()[number];
  switch (r.kind) {
    case Kind::kGpr:
      state.gpr[r.index] = Load<uint32_t>(value);
      return true;
    case Kind::kEip:
      state.eip = Load<uint32_t>(value);
      return true;
    case Kind::kEflags:
      WriteEflags(state, Load<uint32_t>(value));
      return true;
    case Kind::kSelector:
      return WriteSelector(state, kSegOrder[r.index], Load<uint32_t>(value));
    case Kind::kX87:
      std::copy_n(value.begin(), kX87Bytes, &state.fxsave[fxsave::kSt0 + fxsave::kSlot * r.index]);
      return true;
    case Kind::kX87Control:
      WriteX87Control(state, r.index, Load<uint32_t>(value));
      return true;
    case Kind::kXmm:
      std::copy_n(value.begin(), kXmmBytes, &state.fxsave[fxsave::kXmm0 + kXmmBytes * r.index]);
      return true;
    case Kind::kMxcsr:
      StoreFx(state, fxsave::kMxcsr, Load<uint32_t>(value) & mxcsr::kSupported);
      return true;
    case Kind::kSystem:
      return WriteSystem(state, r.index, Load<uint64_t>(value));
  }
  return false;
}

const std::string& TargetDescription() {
  static const std::string text =
      "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
      "<target version=\"1.0\"><architecture>i386</architecture>\n" +
      Feature("org.gnu.gdb.i386.core", FlagTypes(), 0, kFirstSse) +
      Feature("org.gnu.gdb.i386.sse", VectorTypes(), kFirstSse, kFirstSystem) +
      Feature("org.ring3.i386.system", "", kFirstSystem, RegisterCount()) + "</target>\n";
  return text;
}

}  // namespace ring3::gdb
