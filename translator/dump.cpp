#include "translator/dump.h"

#include <Zydis/Zydis.h>
#include <fmt/core.h>

#include <cstring>
#include <vector>

#include "translator/decode.h"

namespace ring3 {
namespace {

struct Line {
  uint32_t eip;
  std::string text;
};

/// The guest bytes a block was made from, from both pages where it crosses.
std::vector<uint8_t> SourceOf(const Block& block, const PhysicalMemory& memory) {
  const uint8_t* first = memory.Flat(block.key.physical);
  if (!block.crosses_page) return {first, first + block.guest_bytes};
  const size_t in_first = kPageSize - block.key.physical.PageOffset();
  std::vector<uint8_t> bytes(first, first + in_first);
  const uint8_t* second = memory.Flat(block.second_page);
  bytes.insert(bytes.end(), second, second + (block.guest_bytes - in_first));
  return bytes;
}

std::vector<Line> GuestLines(const Decoder& decoder, const Block& block, std::span<const uint8_t> source) {
  std::vector<Line> lines;
  const bool code16 = block.key.mode.Code16();
  GuestInstruction insn;
  for (uint32_t at = 0; at < block.guest_bytes;) {
    unsigned length = 1;
    std::string text =
        Disassemble(source.subspan(at), block.key.eip + at, code16 ? CodeSize::k16 : CodeSize::k32, length);
    DecodeStatus status = decoder.Decode(source.subspan(at), block.key.eip + at, insn);
    char letter = status == DecodeStatus::kOk ? NameOf(insn.row.cls).letter : 'M';
    lines.push_back({block.key.eip + at, fmt::format("{} {:08x}  {}", letter, block.key.eip + at, text)});
    at += length;
  }
  return lines;
}

}  // namespace

std::string Disassemble(std::span<const uint8_t> bytes, uint64_t address, CodeSize size, unsigned& length) {
  constexpr ZydisMachineMode kModes[] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32,
                                         ZYDIS_MACHINE_MODE_LONG_64};
  constexpr ZydisStackWidth kWidths[] = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64};
  const unsigned index = static_cast<unsigned>(size);
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, kModes[index], kWidths[index]);
  ZydisFormatter formatter;
  ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &info, operands))) {
    length = 1;
    return fmt::format("db {:02x}", bytes.empty() ? 0 : bytes[0]);
  }
  char text[128];
  ZydisFormatterFormatInstruction(&formatter, &info, operands, info.operand_count_visible, text, sizeof text, address,
                                  nullptr);
  length = info.length;
  return text;
}

void DumpBlock(FILE* out, const Decoder& decoder, const CodeCache& cache, const Block& block,
               const PhysicalMemory& memory) {
  const uint32_t code_base = block.key.mode.Code().base;
  fmt::print(out, "block eip {:08x}{} physical {:08x} mode {:08x}: {} guest bytes, {} host bytes at {:p}\n",
             block.key.eip, code_base ? fmt::format(" cs base {:08x}", code_base) : "", block.key.physical.value,
             block.key.mode.Bits(), block.guest_bytes, block.host_bytes,
             static_cast<void*>(cache.At(block.host_offset)));
  const std::vector<uint8_t> source = SourceOf(block, memory);
  const std::vector<Line> guest = GuestLines(decoder, block, source);
  size_t next = 0;
  const uint8_t* host = cache.At(block.host_offset);
  for (uint32_t at = 0; at < block.host_bytes;) {
    unsigned length = 1;
    std::string text =
        Disassemble({host + at, block.host_bytes - at}, reinterpret_cast<uint64_t>(host + at), CodeSize::kHost, length);
    const RecoveryEntry& state = FindRecovery(block.recovery, at);
    std::string left;
    const bool no_code = next + 1 < guest.size() && state.eip == guest[next + 1].eip;  // LEA of ESP, put off
    if (no_code) fmt::print(out, "  {:<52} |\n", guest[next++].text);
    if (next < guest.size() && state.eip == guest[next].eip) left = guest[next++].text;
    fmt::print(out, "  {:<52} | {:4x}  {}\n", left, at, text);
    at += length;
  }
  fmt::print(out, "\n");
}

}  // namespace ring3
