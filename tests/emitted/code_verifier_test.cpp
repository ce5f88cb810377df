// The verifier of translated code accepts what the contract allows, and says so of nothing else.
#include "tests/emitted/code_verifier.h"

#include <catch2/catch.hpp>

#include "translator/vcpu.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint64_t kHost = 0x7000'0000'0000, kStub = kHost + 0x1'0000, kSource = 0x5555'0000;
constexpr int32_t kReturnCheck = 0xFFFFC;

/// What is wrong with this code, which ends by jumping to the stub unless `open`.
std::string Verify(const std::function<void(Assembler&)>& write, std::vector<RecoveryEntry> recovery = {{}},
                   bool open = false) {
  CodeHolder holder;
  holder.init(Environment::host(), kHost);
  Assembler a(&holder);
  write(a);
  if (!open) a.jmp(Imm(kStub));
  holder.flatten();
  holder.resolveUnresolvedLinks();
  holder.relocateToBase(kHost);
  const CodeBuffer& buffer = holder.textSection()->buffer();
  return VerifyCode({.code = {buffer.data(), buffer.size()},
                     .host_address = kHost,
                     .recovery = recovery,
                     .may_jump_to = [](uint64_t target) { return target == kStub; },
                     .may_resume_at = [](uint32_t eip) { return eip == 0; },
                     .return_check = kReturnCheck,
                     .source = {kSource, 16}});
}

std::string VerifyBytes(std::vector<uint8_t> bytes) {
  return Verify([&](Assembler& a) { a.embed(bytes.data(), bytes.size()); });
}

#define ACCEPTED(...) CHECK(Verify([&](Assembler& a) { __VA_ARGS__; }) == "")
#define REFUSED(why, ...) CHECK_THAT(Verify([&](Assembler& a) { __VA_ARGS__; }), Catch::Contains(why))

Mem Window67(Gp base) {
  Mem m = dword_ptr(base);
  m.setSegment(gs);
  return m;
}

}  // namespace

namespace {

/// r10 := where offset r9d, of an access of four bytes, may be added.
void CheckedSegment(Assembler& a) {
  a.mov(r10, qword_ptr(r12, vcpu_offset::Access(Seg::kDs, offsetof(SegmentAccess, negated_size))));
  a.lea(r10, ptr(r10, r9, 0, 3));
  a.rorx(r10, r10, 32);
  a.movsxd(r10, r10d);
  a.mov(r10, qword_ptr(r12, r10, 3, vcpu_offset::Access(Seg::kDs, offsetof(SegmentAccess, outside))));
}

}  // namespace

TEST_CASE("an access in a segment with a limit has to be checked first") {
  constexpr int kInside = vcpu_offset::Access(Seg::kDs, offsetof(SegmentAccess, inside));
  ACCEPTED(a.lea(r9d, ptr(rbx, 4)), CheckedSegment(a), a.mov(eax, dword_ptr(r10, r9)));
  REFUSED("may hold anything", a.lea(r9d, ptr(rbx, 4)), a.mov(eax, dword_ptr(r10, r9)));
  REFUSED("more than 32 bits", a.mov(r9d, ebx), CheckedSegment(a), a.mov(r9, r14), a.mov(eax, dword_ptr(r10, r9)));
  REFUSED("more than 32 bits", a.mov(r9d, ebx), CheckedSegment(a), a.mov(eax, dword_ptr(r10, r9, 3)));
  REFUSED("more than 32 bits", a.mov(r9d, ebx), CheckedSegment(a), a.mov(eax, dword_ptr(r10, r9, 0, 0x1000)));
  REFUSED("not for blocks", a.mov(r10d, ebx), a.mov(r10, qword_ptr(r12, r10, 3, kInside + 8)));
  ACCEPTED(a.movzx(r8d, ax), a.lea(r9d, ptr(r8, r8)), a.lea(r9, ptr(r9, r14)), a.mov(qword_ptr(r12, kInside), r9));
  REFUSED("not for blocks", a.mov(r9, r11), a.mov(qword_ptr(r12, kInside), r9));
}

TEST_CASE("what the addressing forms of the documentation allow is accepted") {
  ACCEPTED(a.mov(eax, dword_ptr(r15, 8)));
  ACCEPTED(a.mov(dword_ptr(rbp, -8), ecx));
  ACCEPTED(a.mov(eax, dword_ptr(r14, rcx, 3, 0x7FFF'FFFF)));
  ACCEPTED(a.mov(eax, dword_ptr(r14, 0x1234)));
  ACCEPTED(a.mov(eax, Window67(ecx)));
  ACCEPTED(a.mov(r8d, 5), a.mov(eax, dword_ptr(r14, r8)));
  ACCEPTED(a.lea(rsi, ptr(rsi, r14)), a.lea(rdi, ptr(rdi, r14)), a.rep().movsd(), a.mov(esi, esi), a.mov(edi, edi));
  ACCEPTED(a.mov(dword_ptr(r12, vcpu_offset::kInterruptFlag), 0));
  ACCEPTED(a.mov(r8d, dword_ptr(r12, vcpu_offset::SegmentBase(Seg::kFs))));
}

TEST_CASE("other memory is refused") {
  REFUSED("base that may hold anything", a.mov(eax, dword_ptr(rcx)));
  REFUSED("base that may hold anything", a.mov(eax, dword_ptr(r8)));
  REFUSED("relative to RIP", a.mov(eax, dword_ptr(rip, 8)));
  REFUSED("host address", a.mov(eax, dword_ptr(uint64_t{0x1000})));
  REFUSED("cut to 32 bits but not in the window", a.mov(eax, dword_ptr(ecx)));
  REFUSED("adds an index to a biased register", a.mov(eax, dword_ptr(r15, rcx)));
  REFUSED("more than 32 bits to the window", a.mov(eax, dword_ptr(r14, r8)));
  REFUSED("more than 32 bits to the window", a.mov(eax, dword_ptr(r14, r15)));
  REFUSED("on the host's stack", a.mov(eax, dword_ptr(rsp, 8)));
  REFUSED("not for blocks to access", a.mov(dword_ptr(r12, vcpu_offset::kEip), eax));
  REFUSED("not for blocks to access", a.mov(dword_ptr(r12, vcpu_offset::kEflags), eax));
  REFUSED("not for blocks to access", a.mov(r8, qword_ptr(r12, vcpu_offset::kHostRsp)));
  REFUSED("slot of the branch table", a.mov(dword_ptr(r13, rcx, 2), eax));
  REFUSED("base that may hold anything", a.rep().stosd());
  Mem fs_relative = dword_ptr(r14);
  fs_relative.setSegment(fs);
  REFUSED("segment prefix", a.mov(eax, fs_relative));
}

/// Whether r8d is 5, behind a call.
void CheckReturn(Assembler& a, int32_t check = kReturnCheck, const Gp& difference = r9d) {
  a.lea(difference, ptr(r8, -5));
  a.mov(r9d, dword_ptr(r11, r9, 0, check));
}

TEST_CASE("returns carry EIP, and calls find the contract behind them") {
  ACCEPTED(a.call(Imm(kStub)), CheckReturn(a));
  ACCEPTED(a.mov(r8d, dword_ptr(r15)), a.ret());
  REFUSED("returns without an EIP", a.ret());
  REFUSED("returns without an EIP", a.mov(r8, r15), a.ret());
  REFUSED("moves the host's stack", a.mov(r8d, eax), a.ret(8));
  REFUSED("leaves without register 15", a.mov(r8d, eax), a.mov(r15d, eax), a.ret());
  REFUSED("leaves a word", a.mov(r8d, eax), a.pushfq(), a.ret());
  REFUSED("leaves without register 5", a.mov(ebp, eax), a.call(Imm(kStub)));
  REFUSED("jumps anywhere", a.call(r8));
  REFUSED("neither a stub nor a block", a.call(Imm(kStub + 1)));
  REFUSED("base that may hold anything", a.mov(r9, kSource), a.call(Imm(kStub)), a.mov(r9d, dword_ptr(r9)));
  REFUSED("base that may hold anything", a.call(Imm(kStub)), CheckReturn(a, kReturnCheck + 4));
  REFUSED("base that may hold anything", a.call(Imm(kStub)), CheckReturn(a, kReturnCheck, r9));
  REFUSED("base that may hold anything", a.mov(dword_ptr(r11), eax));
}

TEST_CASE("host addresses are the block's own source, and only to be read") {
  ACCEPTED(a.mov(r9, kSource), a.mov(r8d, dword_ptr(r9, 12)));
  REFUSED("not the block's", a.mov(r9, kSource), a.mov(r8d, dword_ptr(r9, 13)));
  REFUSED("not the block's", a.mov(r9, kSource), a.mov(dword_ptr(r9), r8d));
  REFUSED("not the block's", a.mov(r9, kSource - 1), a.mov(r8d, dword_ptr(r9)));
}

TEST_CASE("instructions that act on the host are refused") {
  for (const std::vector<uint8_t>& code :
       std::vector<std::vector<uint8_t>>{{0x0F, 0x05},                    // syscall
                                         {0x0F, 0x34},                    // sysenter
                                         {0xCD, 0x80},                    // int 80h
                                         {0xCC},                          // int3
                                         {0xF4},                          // hlt
                                         {0xFA},                          // cli
                                         {0xEC},                          // in al, dx
                                         {0x6E},                          // outsb
                                         {0xF3, 0x49, 0x0F, 0xAE, 0xD8},  // wrgsbase r8
                                         {0x0F, 0x01, 0xF8},              // swapgs
                                         {0x0F, 0x22, 0xC0},              // mov cr0, rax
                                         {0x8E, 0xD8},                    // mov ds, eax
                                         {0x0F, 0xA2},                    // cpuid
                                         {0x0F, 0x0B},                    // ud2
                                         {0x41, 0xFF, 0x2E},              // jmp far [r14]
                                         {0xC3},                          // ret
                                         {0xCF},                          // iret
                                         {0x0F, 0xF7, 0xC1},              // maskmovq
                                         {0x41, 0x0F, 0xAE, 0x06},        // fxsave [r14]
                                         {0x41, 0x0F, 0xAE, 0x26},        // xsave [r14]
                                         {0x0F, 0x01, 0xEF},              // wrpkru
                                         {0xD7}}) {                       // xlat
    INFO("first bytes " << +code[0] << " " << +code.back());
    CHECK(VerifyBytes(code) != "");
  }
  CHECK_THAT(VerifyBytes({0x06}), Catch::Contains("no host instruction"));
}

TEST_CASE("registers that the contract names keep their meaning") {
  REFUSED("not its own", a.mov(r12, r8));
  REFUSED("not its own", a.mov(r14d, eax));
  REFUSED("not its own", a.add(rsp, 8));
  REFUSED("register 5", a.mov(ebp, eax));  // not rebiased
  ACCEPTED(a.mov(ebp, eax), a.lea(rbp, ptr(rbp, r14)));
  REFUSED("register 0", a.mov(rax, r12));
  REFUSED("register 15", a.lea(r15, ptr(r15, 0x100'0000)));
}

TEST_CASE("BSF, BSR and CMPXCHG may leave 64 bits alone") {
  REFUSED("register 5", a.bsf(ebp, eax), a.lea(rbp, ptr(rbp, r14)));
  REFUSED("register 15", a.bsr(r15d, eax), a.lea(r15, ptr(r15, r14)));
  REFUSED("register 5", a.cmpxchg(ebp, ecx), a.lea(rbp, ptr(rbp, r14)));
  ACCEPTED(a.bsf(ebp, eax), a.mov(ebp, ebp), a.lea(rbp, ptr(rbp, r14)));
}

TEST_CASE("jumps lead to stubs, blocks and instructions") {
  const auto table = [](Assembler& a) {
    a.mov(r8d, eax);
    a.mov(r9d, dword_ptr(r13, r8, 2));
    a.lea(r9, ptr(r9, r11));
    a.jmp(r9);
  };
  CHECK(Verify(table, {{}}, true) == "");
  REFUSED("jumps anywhere", a.jmp(r8));
  REFUSED("jumps through memory", a.jmp(qword_ptr(r12, vcpu_offset::kTarget)));
  REFUSED("neither a stub nor a block", a.jmp(Imm(kStub + 1)));
  CHECK_THAT(VerifyBytes({0xEB, 0x01, 0xB8, 0, 0, 0, 0}), Catch::Contains("into an instruction"));
  CHECK_THAT(Verify([](Assembler& a) { a.nop(); }, {{}}, true), Catch::Contains("runs off"));
  // Both paths to the exit must have put the register right.
  REFUSED("register 5", {
    Label skip = a.newLabel();
    a.mov(ebp, eax);
    a.jz(skip);
    a.lea(rbp, ptr(rbp, r14));
    a.bind(skip);
  });
}

TEST_CASE("the host's stack is left as it was, and flags hold nothing of the system's") {
  ACCEPTED(a.pushfq(), a.pop(r10), a.push(r10), a.popfq());
  ACCEPTED(a.mov(r8d, dword_ptr(r15)), a.and_(r8d, eflags::kHostHeld), a.push(r8), a.popfq());
  REFUSED("loads flags", a.mov(r8d, dword_ptr(r15)), a.push(r8), a.popfq());
  REFUSED("loads flags", a.mov(r8d, dword_ptr(r15)), a.and_(r8d, eflags::kTf), a.push(r8), a.popfq());
  REFUSED("leaves a word", a.pushfq());
  REFUSED("has not pushed", a.popfq());
  REFUSED("a second word", a.pushfq(), a.pushfq());
  REFUSED("pushes something else", a.push(qword_ptr(r14)));
}

TEST_CASE("the recovery map covers the code by whole instructions") {
  const auto two = [](Assembler& a) {
    a.mov(eax, dword_ptr(r14, rcx));  // four bytes
    a.nop();
  };
  CHECK(Verify(two, {{}, {.host_offset = 4}}) == "");
  CHECK_THAT(Verify(two, {}), Catch::Contains("does not begin"));
  CHECK_THAT(Verify(two, {{.host_offset = 4}}), Catch::Contains("does not begin"));
  CHECK_THAT(Verify(two, {{}, {.host_offset = 1}}), Catch::Contains("inside an instruction"));
  CHECK_THAT(Verify(two, {{}, {.host_offset = 4}, {.host_offset = 0}}), Catch::Contains("not sorted"));
  CHECK_THAT(Verify(two, {{.eip = 7}}), Catch::Contains("not in the block"));
  CHECK_THAT(Verify(two, {{.busy = true}}), Catch::Contains("may fault in a busy region"));
}
