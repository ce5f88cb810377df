// Numbers that assembly and C++ share: selectors, vectors and the trap frame's size. Preprocessor only.
#pragma once

// GDT selectors. SYSENTER and SYSEXIT want the first four in this order (SDM 2B, SYSEXIT).
#define DEMO_KERNEL_CODE 0x08
#define DEMO_KERNEL_DATA 0x10
#define DEMO_USER_CODE 0x1B
#define DEMO_USER_DATA 0x23
#define DEMO_TSS 0x28
#define DEMO_LDT 0x30
#define DEMO_NOT_PRESENT 0x3B      // data segment, DPL 3, P = 0
#define DEMO_CALL_GATE 0x43        // DPL 3, to CPL 0, one parameter
#define DEMO_SMALL_READ_ONLY 0x4B  // data segment, DPL 3, limit FFFh, not writable
#define DEMO_CONFORMING_CODE 0x53  // conforming code, DPL 0
#define DEMO_EXECUTE_ONLY 0x5B     // code that may not be read, DPL 3
#define DEMO_LDT_DATA 0x0F         // entry 1 of the LDT, DPL 3

// Interrupt vectors beyond the processor's own 32.
#define DEMO_VECTOR_IRQ 0x20
#define DEMO_VECTOR_KERNEL_ONLY 0x30  // gate with DPL 0
#define DEMO_VECTOR_SYSCALL 0x80
#define DEMO_VECTOR_PROBE_DONE 0x81
#define DEMO_VECTOR_SYSENTER 0x82  // no gate: marks frames that SYSENTER's entry built

#define DEMO_EFLAGS_IF 0x200

#define DEMO_STRING_(x) #x
#define DEMO_STRING(x) DEMO_STRING_(x)
