#include "monitor/interpreter/decode.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "monitor/cpu/guest_decoder.h"
#include "monitor/interpreter/dispatch.h"
#include "monitor/interpreter/instruction_set.h"
#include "monitor/interpreter/native_code.h"

namespace ring3 {
namespace {

constexpr uint8_t kPrefixLock = 0xF0, kPrefixRepne = 0xF2, kPrefixRep = 0xF3, kPrefixOperandSize = 0x66,
                  kPrefixAddressSize = 0x67;

const ZydisDecoder& DecoderFor(const DecoderKind& kind) {
  static const auto decoders = [] {
    std::array<ZydisDecoder, DecoderKind::kCount> all;
    for (bool code32 : {false, true}) {
      for (bool lzcnt : {false, true}) {
        for (bool tzcnt : {false, true}) {
          const DecoderKind each{code32, lzcnt, tzcnt};
          all[each.Number()] = MakeGuestDecoder(each);
        }
      }
    }
    return all;
  }();
  return decoders[kind.Number()];
}

/// Decoded instructions, direct-mapped by linear address and validated by their bytes. Each entry owns the native code
/// slot of the same number.
class DecodeCache {
 public:
  static constexpr unsigned kEntries = 2048;

  Decoded& EntryFor(GuestLinear address) { return (*entries_)[Index(address)]; }
  /// Forgets what `entry` held; the caller fills it anew.
  static void Renew(Decoded& entry) { entry = Decoded{}; }
  NativeCodeSlots& Slots() { return slots_; }
  unsigned SlotOf(const Decoded& entry) const { return static_cast<unsigned>(&entry - entries_->data()); }

 private:
  static unsigned Index(GuestLinear address) { return (address.value ^ (address.value >> 12)) % kEntries; }

  std::unique_ptr<std::array<Decoded, kEntries>> entries_ = std::make_unique<std::array<Decoded, kEntries>>();
  NativeCodeSlots slots_{kEntries};
};

// Contents depend on instruction bytes and the decoder's kind alone, never on a Cpu, so one per thread serves all.
DecodeCache& Cache() {
  thread_local DecodeCache cache;
  return cache;
}

void NotePrefixes(Decoded& d) {
  bool operand_override = false, address_override = false, lock = false;
  for (unsigned i = 0; i < d.insn.raw.prefix_count; ++i) {
    switch (d.insn.raw.prefixes[i].value) {
      case kPrefixLock:
        lock = true;
        break;
      case kPrefixOperandSize:
        operand_override = true;
        break;
      case kPrefixAddressSize:
        address_override = true;
        break;
      case kPrefixRepne:
        d.repne = true, d.rep = false;
        break;
      case kPrefixRep:
        d.rep = true, d.repne = false;
        break;
      default:
        break;
    }
  }
  d.operand32 = d.kind.code32 != operand_override;
  d.address32 = d.kind.code32 != address_override;
  if (lock && !(d.insn.attributes & ZYDIS_ATTRIB_ACCEPTS_LOCK)) d.illegal = true;
}

void Analyse(Decoded& d) {
  NotePrefixes(d);
  for (int i = 0; i < d.insn.operand_count; ++i) {
    const ZydisDecodedOperand& op = d.operands[i];
    if (op.type == ZYDIS_OPERAND_TYPE_MEMORY && op.mem.type == ZYDIS_MEMOP_TYPE_MEM) {
      d.memory_operand = static_cast<int8_t>(i);
      break;
    }
  }
  d.need = NeedOf(d.insn);
  d.fpu = FpuUseOf(d);
  d.handler = HandlerFor(d);
}

/// Decodes as far as `count` bytes allow. False: more bytes are needed.
bool TryDecode(Decoded& d, const uint8_t* bytes, unsigned count, const DecoderKind& kind) {
  const ZyanStatus status = ZydisDecoderDecodeFull(&DecoderFor(kind), bytes, count, &d.insn, d.operands.data());
  if (status == ZYDIS_STATUS_NO_MORE_DATA) return false;
  if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) ThrowGp0();
  d.kind = kind;
  if (ZYAN_SUCCESS(status)) {
    d.length = d.insn.length;
    Analyse(d);
  } else {
    d.length = static_cast<uint8_t>(count);
    d.illegal = true;
  }
  std::memcpy(d.bytes.data(), bytes, d.length);
  return true;
}

/// Bytes readable from `eip` before the CS limit, at most 15.
unsigned BytesBeforeLimit(const SegmentRegister& cs, uint32_t eip) {
  if (eip > cs.limit) ThrowGp0();
  return static_cast<unsigned>(std::min<uint64_t>(uint64_t{cs.limit} - eip + 1, kMaxInstructionBytes));
}

}  // namespace

Decoded& FetchInstruction(Cpu& cpu) {
  const SegmentRegister& cs = cpu.state.Segment(Seg::kCs);
  const GuestLinear linear(cs.base + cpu.state.eip);
  const Access access{AccessType::kFetch, cpu.User()};
  const unsigned limit = BytesBeforeLimit(cs, cpu.state.eip);
  const unsigned in_page = std::min<unsigned>(limit, kPageSize - linear.PageOffset());

  std::array<uint8_t, kMaxInstructionBytes> copy;
  const uint8_t* bytes = cpu.memory.TryDirect(linear, access);
  if (!bytes) {
    cpu.memory.ReadBytes(linear, {copy.data(), in_page}, access);
    bytes = copy.data();
  }
  const DecoderKind kind = DecoderKind::Of(cpu.model, cs.Big());
  Decoded& d = Cache().EntryFor(linear);
  if (d.length != 0 && d.length <= in_page && d.kind == kind && std::memcmp(d.bytes.data(), bytes, d.length) == 0) {
    return d;
  }
  DecodeCache::Renew(d);
  if (TryDecode(d, bytes, in_page, kind)) return d;
  // A decode that failed for want of bytes leaves the entry empty, whichever fault follows.
  if (in_page == kMaxInstructionBytes) ThrowGp0();
  std::memmove(copy.data(), bytes, in_page);
  if (in_page < limit) {
    cpu.memory.ReadBytes(linear + in_page, {copy.data() + in_page, limit - in_page}, access);
    if (TryDecode(d, copy.data(), limit, kind)) return d;
  }
  ThrowGp0();
}

NativeEntry NativeCodeOf(Decoded& d) {
  if (!d.native) d.native = Cache().Slots().Assemble(Cache().SlotOf(d), d);
  return d.native;
}

}  // namespace ring3
