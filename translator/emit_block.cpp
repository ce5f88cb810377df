// What stands before a block's first instruction: the execution counter, the record and the self-check.
#include <cstring>

#include "translator/block_record.h"
#include "translator/emitter.h"
#include "translator/host_registers.h"
#include "translator/vcpu.h"

namespace ring3 {

using namespace asmjit;

void Emitter::EmitCounter(uint32_t eip, uint64_t* counter) {
  Mark(eip);
  as_.mov(x86::r9, reinterpret_cast<uint64_t>(counter));
  as_.mov(x86::r8, x86::qword_ptr(x86::r9));
  as_.lea(x86::r8, x86::ptr(x86::r8, 1));
  as_.mov(x86::qword_ptr(x86::r9), x86::r8);
}

uint32_t Emitter::EmitRecord(uint32_t eip, uint32_t host_offset) {
  const auto field = [](size_t offset) { return x86::dword_ptr(x86::r9, static_cast<int32_t>(offset)); };
  MarkBusy(eip);  // whoever stops here must find the record written: it tells that the block before has ended
  as_.mov(x86::r9, x86::qword_ptr(x86::r12, vcpu_offset::kNextRecord));
  // The first store is the one that faults where the room ends; the handler then moves r9.
  as_.mov(field(offsetof(BlockRecord, tag)), BlockRecord::kTag);
  as_.mov(field(offsetof(BlockRecord, eip)), eip);
  as_.pushfq();
  as_.pop(x86::qword_ptr(x86::r9, offsetof(BlockRecord, flags)));
  for (unsigned gpr = 0; gpr < kGprCount; ++gpr) as_.mov(field(offsetof(BlockRecord, gpr) + 4 * gpr), host::Low32(gpr));
  as_.mov(field(offsetof(BlockRecord, host_offset)), host_offset);
  as_.mov(field(offsetof(BlockRecord, instructions)), 0);
  const uint32_t instructions = Offset() - sizeof(uint32_t);
  as_.lea(x86::r9, x86::ptr(x86::r9, sizeof(BlockRecord)));
  as_.mov(x86::qword_ptr(x86::r12, vcpu_offset::kNextRecord), x86::r9);
  Mark(eip);
  return instructions;
}

void Emitter::FinishRecord(uint32_t record, uint32_t instructions) {
  std::memcpy(Buffer() + record, &instructions, sizeof instructions);
}

void Emitter::EmitSabotage(Sabotage::Kind kind, uint32_t next_eip) {
  constexpr int32_t kFarBelow = -0x400;
  Mark(next_eip);
  if (kind == Sabotage::Kind::kRegister) as_.lea(x86::eax, x86::ptr(x86::rax, 1));
  if (kind == Sabotage::Kind::kMemory) as_.mov(x86::dword_ptr(x86::r15, kFarBelow), next_eip);
}

uint32_t Emitter::EmitSelfCheckStart(uint32_t eip) {
  Mark(eip);
  // The comparison is written behind the block, when it is known how many bytes it covers.
  const uint8_t jump[] = {0xE9, 0, 0, 0, 0};
  EmitBytes(jump);
  return Offset();
}

void Emitter::EmitSelfCheckEnd(uint32_t body, std::span<const uint8_t> source) {
  int32_t to_check = static_cast<int32_t>(Offset() - body);
  std::memcpy(Buffer() + body - 4, &to_check, sizeof to_check);
  Label stale = as_.newLabel();
  Mark(start_eip_);
  as_.mov(x86::r9, reinterpret_cast<uint64_t>(source.data()));
  as_.pushfq();
  as_.pop(x86::r10);
  MarkBusy(start_eip_);
  for (size_t at = 0; at < source.size();) {
    const size_t left = source.size() - at;
    const size_t step = left >= 4 ? 4 : 1;
    uint32_t expected = 0;
    std::memcpy(&expected, source.data() + at, step);
    if (step == 4) {
      as_.cmp(x86::dword_ptr(x86::r9, static_cast<int32_t>(at)), expected);
    } else {
      as_.cmp(x86::byte_ptr(x86::r9, static_cast<int32_t>(at)), expected);
    }
    as_.jne(stale);
    at += step;
  }
  as_.push(x86::r10);
  as_.popfq();
  Mark(start_eip_);
  EmitBranchTo(kJump, host_base_ + body);
  as_.bind(stale);
  MarkBusy(start_eip_);
  as_.push(x86::r10);
  as_.popfq();
  Mark(start_eip_);
  EmitLeave(start_eip_, stubs_.Stale());
}

}  // namespace ring3
