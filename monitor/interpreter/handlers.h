// All handlers, by file. Each executes one kind of instruction: registers and memory after it, EIP only where it says
// so (Step::eip_set). Each may throw GuestFault; StepInstruction puts the registers back.
#pragma once

#include "monitor/interpreter/step.h"

namespace ring3 {

// control_flow.cpp
void ExecuteJcc(Step& s);
void ExecuteLoop(Step& s);
void ExecuteJcxz(Step& s);
void ExecuteJump(Step& s);
void ExecuteCall(Step& s);
void ExecuteReturn(Step& s);
void ExecuteInt(Step& s);
void ExecuteInt1(Step& s);
void ExecuteInt3(Step& s);
void ExecuteInto(Step& s);
void ExecuteBound(Step& s);
void ExecuteIret(Step& s);
void ExecuteSysenter(Step& s);
void ExecuteSysexit(Step& s);

// stack_ops.cpp
void ExecutePush(Step& s);
void ExecutePop(Step& s);
void ExecutePushSegment(Step& s);
void ExecutePopSegment(Step& s);
void ExecutePusha(Step& s);
void ExecutePopa(Step& s);
void ExecutePushf(Step& s);
void ExecutePopf(Step& s);
void ExecuteEnter(Step& s);
void ExecuteLeave(Step& s);

// string_ops.cpp
void ExecuteMovs(Step& s);
void ExecuteCmps(Step& s);
void ExecuteStos(Step& s);
void ExecuteLods(Step& s);
void ExecuteScas(Step& s);
void ExecuteIns(Step& s);
void ExecuteOuts(Step& s);

// segment_ops.cpp
void ExecuteMovFromSegment(Step& s);
void ExecuteMovToSegment(Step& s);
void ExecuteLoadFarPointer(Step& s);
void ExecuteStoreTable(Step& s);
void ExecuteLoadTable(Step& s);
void ExecuteSldt(Step& s);
void ExecuteStr(Step& s);
void ExecuteLldt(Step& s);
void ExecuteLtr(Step& s);
void ExecuteSmsw(Step& s);
void ExecuteLmsw(Step& s);
void ExecuteLar(Step& s);
void ExecuteLsl(Step& s);
void ExecuteVerr(Step& s);
void ExecuteVerw(Step& s);
void ExecuteArpl(Step& s);

// system_ops.cpp
void ExecuteIn(Step& s);
void ExecuteOut(Step& s);
void ExecuteHlt(Step& s);
void ExecuteCli(Step& s);
void ExecuteSti(Step& s);
void ExecuteMovFromControl(Step& s);
void ExecuteMovToControl(Step& s);
void ExecuteMovFromDebug(Step& s);
void ExecuteMovToDebug(Step& s);
void ExecuteRdmsr(Step& s);
void ExecuteWrmsr(Step& s);
void ExecuteRdtsc(Step& s);
void ExecuteRdpmc(Step& s);
void ExecuteCpuid(Step& s);
void ExecuteInvlpg(Step& s);
void ExecuteCacheInvalidate(Step& s);
void ExecuteClts(Step& s);
void ExecuteClflush(Step& s);
void ExecuteUndefined(Step& s);

// adjust_ops.cpp: decimal and other one-byte instructions that 64-bit mode lacks, and flag instructions
void ExecuteAaa(Step& s);
void ExecuteAas(Step& s);
void ExecuteAam(Step& s);
void ExecuteAad(Step& s);
void ExecuteDaa(Step& s);
void ExecuteDas(Step& s);
void ExecuteSalc(Step& s);
void ExecuteLahf(Step& s);
void ExecuteSahf(Step& s);
void ExecuteCld(Step& s);
void ExecuteStd(Step& s);
void ExecuteBitTest(Step& s);

// move_ops.cpp
void ExecuteMov(Step& s);
void ExecuteLea(Step& s);
void ExecuteXlat(Step& s);
void ExecuteNothing(Step& s);
void ExecuteMaskedStore(Step& s);

// fpu_state.cpp
void ExecuteFwait(Step& s);
void ExecuteFxsave(Step& s);
void ExecuteFxrstor(Step& s);
void ExecuteLdmxcsr(Step& s);
void ExecuteStmxcsr(Step& s);

// masked_ops.cpp: vectors of which single elements are accessed
void ExecuteMaskedMove(Step& s);
void ExecuteGather(Step& s);

// xsave.cpp
void ExecuteXsave(Step& s);
void ExecuteXsavec(Step& s);
void ExecuteXrstor(Step& s);
void ExecuteXgetbv(Step& s);
void ExecuteXsetbv(Step& s);

// native_execute.cpp: everything else
void ExecuteNative(Step& s);
void ExecuteDivide(Step& s);

}  // namespace ring3
