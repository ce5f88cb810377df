// Reports worth reading: what the guest and the monitor were doing when either went down.
#pragma once

#include <csignal>
#include <cstdio>

#include "monitor/exit_trace.h"

namespace ring3 {

class Translator;

/// The guest's registers and the code at its EIP.
void PrintGuestState(FILE* out, const char* title, const CpuState& state, PhysicalMemory& physical, bool a20_enabled);
/// The guest's registers, the code at its EIP (guest and, where translated, host), and the last exits.
void PrintGuestReport(FILE* out, const char* title, Vcpu& vcpu, const Translator& translator, const ExitTrace& trace);

/// CrashHandler for HostSignals: restores the terminal, reports guest and monitor with a backtrace in which translated
/// blocks are named by their guest EIP, and ends the process with exit_code::kInternal.
[[noreturn]] void ReportCrash(int signal, siginfo_t* info, void* context);
/// The same for std::terminate and failed assertions.
void InstallTerminateReport();

/// The exits that a crash report shows.
void SetCrashTrace(const ExitTrace* trace);

}  // namespace ring3
