#include "monitor/qmp/memory_dump.h"

#include <Zydis/Zydis.h>
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <cstring>

#include "monitor/control/front_ends.h"
#include "monitor/control/guest_bytes.h"

namespace ring3::qmp {
namespace {

constexpr unsigned kLineBytes = 16;

std::optional<uint64_t> RegisterNamed(std::string_view name, const CpuState& state) {
  constexpr std::string_view kGprs[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
  for (unsigned i = 0; i < kGprCount; ++i) {
    if (kGprs[i] == name) return state.gpr[i];
  }
  constexpr std::string_view kSegments[] = {"es", "cs", "ss", "ds", "fs", "gs"};
  for (unsigned i = 0; i < kSegCount; ++i) {
    if (kSegments[i] == name) return state.seg[i].selector;
  }
  if (name == "eip" || name == "pc") return state.eip;
  if (name == "sp") return state.gpr[kEsp];
  if (name == "fp") return state.gpr[kEbp];
  if (name == "eflags") return state.eflags;
  if (name == "cr0") return state.cr0;
  if (name == "cr2") return state.cr2;
  if (name == "cr3") return state.cr3;
  if (name == "cr4") return state.cr4;
  return std::nullopt;
}

uint64_t Term(std::string_view& text, const CpuState& state) {
  const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  const bool is_register = text.starts_with('$');
  if (is_register) text.remove_prefix(1);
  const auto end = std::find_if_not(text.begin(), text.end(), is_word);
  const std::string word(text.begin(), end);
  text.remove_prefix(word.size());
  if (is_register) {
    if (const auto value = RegisterNamed(word, state)) return *value;
    throw ControlError(fmt::format("unknown register '${}'", word));
  }
  char* rest = nullptr;
  const uint64_t value = std::strtoull(word.c_str(), &rest, 0);
  if (word.empty() || *rest) throw ControlError(fmt::format("'{}' is not a number", word));
  return value;
}

std::string FormatItem(const DumpFormat& format, uint64_t value) {
  const unsigned digits = format.bytes * 2;
  const auto shift = 64 - 8 * format.bytes;
  switch (format.kind) {
    case 'd':
      return fmt::format("{}", static_cast<int64_t>(value << shift) >> shift);
    case 'u':
      return fmt::format("{}", value);
    case 'o':
      return fmt::format("{:#o}", value);
    case 'c': {
      const int c = static_cast<int>(value & 0xFF);
      return std::isprint(c) ? fmt::format("'{}'", static_cast<char>(c)) : fmt::format("'\\x{:02x}'", c);
    }
    default:
      return fmt::format("0x{:0{}x}", value, digits);
  }
}

std::string DumpInstructions(MachineControl& control, const DumpFormat& format, uint64_t address, bool physical) {
  const bool code32 = control.GetEngine().State().Code32();
  const auto mode = code32 ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LEGACY_16;
  std::string text;
  for (unsigned i = 0; i < format.count; ++i) {
    std::array<uint8_t, ZYDIS_MAX_INSTRUCTION_LENGTH> bytes;
    const size_t got = ReadGuest(control, address, physical, bytes);
    if (got == 0) return text + fmt::format("Cannot access memory at address {:#x}\n", address);
    ZydisDisassembledInstruction instruction;
    if (!ZYAN_SUCCESS(ZydisDisassembleIntel(mode, address, bytes.data(), got, &instruction))) {
      text += fmt::format("0x{:08x}:  .byte {:#04x}\n", address, bytes[0]);
      ++address;
      continue;
    }
    text += fmt::format("0x{:08x}:  {}\n", address, instruction.text);
    address += instruction.info.length;
  }
  return text;
}

}  // namespace

DumpFormat DumpFormat::Parse(std::string_view text) {
  DumpFormat format;
  if (!text.starts_with('/')) throw ControlError("a format begins with /");
  text.remove_prefix(1);
  unsigned count = 0;
  bool counted = false;
  while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
    counted = true;
    count = std::min(count * 10 + static_cast<unsigned>(text[0] - '0'), kMostItems + 1);
    text.remove_prefix(1);
  }
  if (counted) format.count = count;
  if (format.count > kMostItems) throw ControlError(fmt::format("at most {} items", kMostItems));
  for (char c : text) {
    constexpr std::string_view kKinds = "xduoci", kSizes = "bhwg";
    const size_t size = kSizes.find(c);
    if (kKinds.find(c) != std::string_view::npos) {
      format.kind = c;
      if (c == 'c') format.bytes = 1;
    } else if (size != std::string_view::npos) {
      format.bytes = 1u << size;
    } else {
      throw ControlError(fmt::format("'{}' is neither a format (x d u o c i) nor a size (b h w g)", c));
    }
  }
  return format;
}

uint64_t Evaluate(std::string_view expression, const CpuState& state) {
  std::string packed;
  for (char c : expression) {
    if (!std::isspace(static_cast<unsigned char>(c))) packed.push_back(c);
  }
  std::string_view text = packed;
  uint64_t value = Term(text, state);
  while (!text.empty()) {
    const char sign = text[0];
    if (sign != '+' && sign != '-') throw ControlError(fmt::format("'{}' is not an address", expression));
    text.remove_prefix(1);
    const uint64_t term = Term(text, state);
    value = sign == '+' ? value + term : value - term;
  }
  return value;
}

std::string DumpMemory(MachineControl& control, const DumpFormat& format, uint64_t address, bool physical) {
  if (format.kind == 'i') return DumpInstructions(control, format, address, physical);
  std::string text;
  for (unsigned i = 0; i < format.count; ++i, address += format.bytes) {
    std::array<uint8_t, sizeof(uint64_t)> bytes{};
    if (ReadGuest(control, address, physical, std::span(bytes).first(format.bytes)) < format.bytes) {
      if (i != 0) text += "\n";
      return text + fmt::format("Cannot access memory at address {:#x}\n", address);
    }
    uint64_t value;
    std::memcpy(&value, bytes.data(), sizeof value);
    const unsigned per_line = std::max(1u, kLineBytes / format.bytes);
    if (i % per_line == 0) text += fmt::format("{}{:08x}:", i ? "\n" : "", address);
    text += " " + FormatItem(format, value);
  }
  return text + "\n";
}

}  // namespace ring3::qmp
