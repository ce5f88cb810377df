#include "translator/stubs.h"

#include <xbyak/xbyak.h>

#include "translator/host_registers.h"
#include "translator/vcpu.h"

namespace ring3 {
namespace {

using namespace Xbyak::util;
namespace off = vcpu_offset;

Xbyak::Reg64 Host64(unsigned gpr) { return Xbyak::Reg64(host::NumberOf(gpr)); }
Xbyak::Reg32 Host32(unsigned gpr) { return Xbyak::Reg32(host::NumberOf(gpr)); }

constexpr int kXmmCount = 8;  // a 32-bit guest's
constexpr int kOverflowBit = 11;
static_assert(eflags::kOf == 1u << kOverflowBit);

/// What the host's ABI wants kept, in push order.
const Xbyak::Reg64 kCalleeSaved[] = {rbx, rbp, r12, r13, r14, r15};

struct Generator : Xbyak::CodeGenerator {
  Xbyak::Label enter, enter_check, enter_end, indirect_miss, link_miss, interpret, demoted, stale, light_callout,
      full_callout, leave_recorded, leave_unentered, return_sentinel, sentinel_end;
  std::array<Xbyak::Label, StepOperand::kCount> steps;

  explicit Generator(uint8_t* memory) : CodeGenerator(Stubs::kBytes, memory) {
    L(indirect_miss);  // must be at offset 0: an empty branch-table slot leads here
    EmitLeave(ExitReason::kIndirectMiss);
    L(link_miss);
    pop(r9);
    mov(ptr[r12 + off::kExitSite], r9);
    mov(dword[r12 + off::kExitReason], static_cast<uint32_t>(ExitReason::kLinkMiss));
    jmp(save_, T_NEAR);
    L(interpret);
    EmitLeave(ExitReason::kInterpret);
    L(demoted);
    EmitLeave(ExitReason::kDemoted);
    L(stale);
    EmitLeave(ExitReason::kStale);
    EmitReturnSentinel();
    EmitEnter();
    EmitCallouts();
  }

  /// EIP in r8d: records the exit and saves the integer state.
  void EmitLeave(ExitReason reason) {
    mov(dword[r12 + off::kEip], r8d);
    mov(dword[r12 + off::kExitReason], static_cast<uint32_t>(reason));
    jmp(save_, T_NEAR);
  }

  /// A return to where no call is remembered, EIP in r8d: as at every return site. The sentinel stays on the stack.
  void EmitReturnSentinel() {
    L(return_sentinel);
    lea(rsp, ptr[rsp - 8]);
    mov(r9d, dword[r13 + r8 * 4]);
    lea(r9, ptr[r9 + r11]);
    jmp(r9);
    L(sentinel_end);
  }

  void EmitEnter() {
    align(16);
    L(enter);
    for (const auto& reg : kCalleeSaved) push(reg);
    sub(rsp, 8);
    mov(r12, rdi);
    mov(ptr[r12 + off::kHostRsp], rsp);
    xor_(r14d, r14d);  // no window's: GS.base is written
    L(load_state_);
    cmp(qword[r12 + off::kFpuInImage], 0);  // and kAvx
    jne(load_other_, T_NEAR);
    for (int i = 0; i < kXmmCount; ++i) movaps(Xbyak::Xmm(i), ptr[r12 + SavedVector(i)]);
    ldmxcsr(ptr[r12 + off::kMxcsr]);
    L(fpu_loaded_);
    L(enter_check);
    cmp(dword[r12 + off::kKick], 0);
    jne(leave_unentered, T_NEAR);
    mov(r8, ptr[r12 + off::kTarget]);
    mov(r11, ptr[r12 + off::kCodeBase]);
    mov(r13, ptr[r12 + off::kBranchTable]);
    mov(r10, r14);
    mov(r14, ptr[r12 + off::kWindowBase]);
    cmp(r10, r14);
    je(window_loaded_);
    wrgsbase(r14);
    L(window_loaded_);
    EmitLoadFlags();
    for (unsigned gpr = 0; gpr < kGprCount; ++gpr) mov(Host32(gpr), ptr[r12 + off::Register(gpr)]);
    lea(Host64(kEsp), ptr[Host64(kEsp) + r14]);
    lea(Host64(kEbp), ptr[Host64(kEbp) + r14]);
    mov(rsp, ptr[r12 + off::kReturnRsp]);
    jmp(r8);
    L(enter_end);

    L(save_);
    EmitSaveIntegers();
    L(leave_recorded);
    EmitSaveVectors();
    L(leave_saved_);
    EmitReturn();

    L(leave_unentered);
    mov(dword[r12 + off::kExitReason], static_cast<uint32_t>(ExitReason::kInterrupted));
    jmp(leave_recorded);

    EmitOtherStates();

    align(4);
    L(host_mxcsr_);
    dd(0x1F80);
  }

  /// The less frequent places that the FPU state comes from and goes to. Only a guest with XCR0.AVX set pays for the
  /// upper halves, whose own code may leave them in use; the monitor's runs better without.
  void EmitOtherStates() {
    Xbyak::Label avx_registers;
    L(load_other_);
    cmp(dword[r12 + off::kFpuInImage], 0);
    je(avx_registers, T_NEAR);
    RestoreImage();
    mov(dword[r12 + off::kFpuInImage], 0);
    cmp(dword[r12 + off::kAvx], 0);
    je(fpu_loaded_, T_NEAR);
    for (int i = 0; i < kXmmCount; ++i) {
      const Xbyak::Ymm ymm(i);
      vinsertf128(ymm, ymm, ptr[r12 + off::kYmmHigh + static_cast<int>(kXmmBytes) * i], 1);
    }
    jmp(fpu_loaded_, T_NEAR);
    L(avx_registers);
    for (int i = 0; i < kXmmCount; ++i) vmovaps(Xbyak::Ymm(i), ptr[r12 + SavedVector(i)]);
    ldmxcsr(ptr[r12 + off::kMxcsr]);
    jmp(fpu_loaded_, T_NEAR);
  }

  /// The flags in host_flags, DF being clear. POPF would take several times as long.
  void EmitLoadFlags() {
    Xbyak::Label forward;
    mov(ecx, ptr[r12 + off::kHostFlags]);
    test(ecx, eflags::kDf);
    jz(forward);
    std();
    L(forward);
    mov(eax, ecx);
    mov(ah, cl);
    shr(ecx, kOverflowBit);
    and_(ecx, 1);
    add(cl, 0x7F);  // overflows if OF is to be set
    sahf();         // the rest
  }

  /// And goes to the monitor's stack.
  void EmitSaveIntegers() {
    mov(ptr[r12 + off::kReturnRsp], rsp);
    mov(rsp, ptr[r12 + off::kHostRsp]);
    for (unsigned gpr = 0; gpr < kGprCount; ++gpr) mov(ptr[r12 + off::Register(gpr)], Host32(gpr));
    pushfq();
    pop(r8);
    and_(r8d, eflags::kHostHeld);
    mov(ptr[r12 + off::kHostFlags], r8d);
    cld();
  }

  void EmitSaveVectors() {
    Xbyak::Label avx, saved;
    cmp(dword[r12 + off::kAvx], 0);
    jne(avx);
    for (int i = 0; i < kXmmCount; ++i) movaps(ptr[r12 + SavedVector(i)], Xbyak::Xmm(i));
    jmp(saved);
    L(avx);
    for (int i = 0; i < kXmmCount; ++i) vmovaps(ptr[r12 + SavedVector(i)], Xbyak::Ymm(i));
    vzeroupper();
    L(saved);
    stmxcsr(ptr[r12 + off::kMxcsr]);
    ldmxcsr(ptr[rip + host_mxcsr_]);
  }

  void EmitCallouts() {
    L(light_callout);
    EmitCallCallout();
    cmp(eax, static_cast<uint32_t>(CalloutResult::kDone));
    je(light_done_, T_NEAR);
    cmp(eax, static_cast<uint32_t>(CalloutResult::kLeave));
    je(leave_recorded, T_NEAR);
    EmitSaveVectors();
    jmp(step_, T_NEAR);

    L(light_done_);  // calls are remembered for one branch table, that is mode and window
    cmp(r13, ptr[r12 + off::kBranchTable]);
    cmovne(rbx, ptr[r12 + off::kReturnEmpty]);
    mov(ptr[r12 + off::kReturnRsp], rbx);
    jmp(enter_check, T_NEAR);

    for (unsigned packed = 0; packed < StepOperand::kCount; ++packed) {
      L(steps[packed]);
      mov(r9d, StepArguments(StepOperand::Unpack(static_cast<uint16_t>(packed))));
      jmp(full_callout, T_NEAR);
    }

    L(full_callout);
    EmitCallCallout(true);
    cmp(eax, static_cast<uint32_t>(CalloutResult::kDone));
    je(full_done_, T_NEAR);
    cmp(eax, static_cast<uint32_t>(CalloutResult::kLeave));
    je(leave_saved_, T_NEAR);
    L(step_);
    mov(esi, StepArguments({}));
    mov(ecx, StepArguments({.demoted = true, .plain = true}));
    cmp(eax, static_cast<uint32_t>(CalloutResult::kStep));
    cmove(esi, ecx);
    mov(rdi, r12);
    call(ptr[r12 + off::kCallouts +
             static_cast<int>(sizeof(CalloutFunction) * static_cast<unsigned>(Callout::kInterpret))]);
    cmp(eax, static_cast<uint32_t>(CalloutResult::kDone));
    jne(leave_saved_, T_NEAR);

    L(full_done_);  // mappings may have changed, too
    mov(rbx, ptr[r12 + off::kReturnEmpty]);
    mov(ptr[r12 + off::kReturnRsp], rbx);
    jmp(load_state_, T_NEAR);
  }

  static uint32_t StepArguments(StepOperand step) {
    return CalloutArguments{Callout::kInterpret, 0, step.Pack()}.Pack();
  }

  /// r12 to r15 survive it, and rbx, which holds the return stack's pointer; unless told otherwise calls are forgotten.
  void EmitCallCallout(bool save_vectors = false) {
    mov(dword[r12 + off::kEip], r8d);
    EmitSaveIntegers();
    if (save_vectors) EmitSaveVectors();
    mov(rbx, ptr[r12 + off::kReturnRsp]);
    mov(qword[r12 + off::kReturnRsp], 0);
    mov(rdi, r12);
    mov(esi, r9d);
    mov(edx, r10d);
    shr(r9d, CalloutArguments::kCalloutShift);
    call(ptr[r12 + r9 * 8 + off::kCallouts]);
  }

  static int SavedVector(int i) { return off::kYmm + static_cast<int>(kYmmBytes) * i; }

  void EmitReturn() {
    mov(rsp, ptr[r12 + off::kHostRsp]);  // an entry may have been given up on either stack
    add(rsp, 8);
    for (auto reg = std::rbegin(kCalleeSaved); reg != std::rend(kCalleeSaved); ++reg) pop(*reg);
    ret();
  }

  /// FXRSTOR (0F AE /1) of the guest's image at r12 + kFxsave.
  void RestoreImage() {
    for (unsigned byte : {0x41u, 0x0Fu, 0xAEu, 0x80u | 1u << 3 | 4u, 0x24u}) db(static_cast<uint8_t>(byte));
    dd(static_cast<uint32_t>(off::kFxsave));
  }

  void wrgsbase(const Xbyak::Reg64& reg) {  // F3 REX.W 0F AE /3
    db(0xF3);
    db(static_cast<uint8_t>(0x48 | (reg.getIdx() >= 8 ? 1 : 0)));
    db(0x0F);
    db(0xAE);
    db(static_cast<uint8_t>(0xC0 | 3 << 3 | (reg.getIdx() & 7)));
  }

  uint64_t AddressOf(const Xbyak::Label& label) const { return reinterpret_cast<uint64_t>(label.getAddress()); }

 private:
  Xbyak::Label light_done_, step_, full_done_, save_, load_state_, load_other_, fpu_loaded_, window_loaded_,
      leave_saved_, host_mxcsr_;
};

}  // namespace

Stubs::Stubs(uint8_t* memory) {
  Generator g(memory);
  g.ready();
  enter_ = reinterpret_cast<void (*)(Vcpu*)>(g.AddressOf(g.enter));
  indirect_miss_ = g.AddressOf(g.indirect_miss);
  link_miss_ = g.AddressOf(g.link_miss);
  interpret_ = g.AddressOf(g.interpret);
  demoted_ = g.AddressOf(g.demoted);
  stale_ = g.AddressOf(g.stale);
  light_callout_ = g.AddressOf(g.light_callout);
  full_callout_ = g.AddressOf(g.full_callout);
  for (unsigned packed = 0; packed < StepOperand::kCount; ++packed) steps_[packed] = g.AddressOf(g.steps[packed]);
  leave_recorded_ = g.AddressOf(g.leave_recorded);
  leave_unentered_ = g.AddressOf(g.leave_unentered);
  enter_check_ = g.AddressOf(g.enter_check);
  enter_end_ = g.AddressOf(g.enter_end);
  return_sentinel_ = g.AddressOf(g.return_sentinel);
  sentinel_end_ = g.AddressOf(g.sentinel_end);
}

}  // namespace ring3
