// Ways into the kernel and out of it. The order of the pushes is TrapFrame's (traps.h).
#include "layout.h"

        .set STUB_BYTES, 16
        .set FRAME_VECTOR, 48             // offset of TrapFrame::vector

        .text
// One stub per vector, STUB_BYTES apart. The CPU pushes an error code for some; the others push 0 in its place.
        .balign STUB_BYTES
        .globl trap_stubs
trap_stubs:
        .set vector, 0
        .rept 256
        .balign STUB_BYTES
        .if (vector != 8) && (vector != 17) && ((vector < 10) || (vector > 14))
        pushl $0
        .endif
        pushl $vector
        jmp TrapCommon
        .set vector, vector + 1
        .endr

        .balign 16
TrapCommon:
        pushal
        pushl %ds
        pushl %es
        pushl %fs
        pushl %gs
        movl $DEMO_KERNEL_DATA, %eax
        movl %eax, %ds
        movl %eax, %es
        cld
        pushl %esp
        call HandleTrap
        movl %eax, %esp
        cmpl $DEMO_VECTOR_SYSENTER, FRAME_VECTOR(%esp)
        je ReturnBySysexit
ReturnByIret:
        popl %gs
        popl %fs
        popl %es
        popl %ds
        popal
        addl $8, %esp                     // vector, error
        iret

// SYSENTER loads ESP with the address of TSS.ESP0, which holds the current process's stack. ECX and EDX are the user's
// ESP and EIP.
        .globl SysenterEntry
SysenterEntry:
        movl (%esp), %esp
        pushl $DEMO_USER_DATA
        pushl %ecx
        pushfl
        orl $DEMO_EFLAGS_IF, (%esp)
        pushl $DEMO_USER_CODE
        pushl %edx
        pushl $0
        pushl $DEMO_VECTOR_SYSENTER
        jmp TrapCommon

ReturnBySysexit:
        popl %gs
        popl %fs
        popl %es
        popl %ds
        popal
        addl $8, %esp
        popl %edx                         // EIP
        addl $4, %esp
        andl $~DEMO_EFLAGS_IF, (%esp)     // stays off until the shadow of STI ends, in ring 3
        popfl
        popl %ecx                         // ESP
        sti
        sysexit

// void EnterFrame(TrapFrame*): what the ABI preserves stays on this stack until LeaveToKernel.
        .globl EnterFrame
EnterFrame:
        pushl %ebp
        pushl %ebx
        pushl %esi
        pushl %edi
        pushfl
        movl %esp, kernel_resume_esp
        movl 24(%esp), %esp
        jmp ReturnByIret

        .globl LeaveToKernel
LeaveToKernel:
        movl kernel_resume_esp, %esp
        popfl
        popl %edi
        popl %esi
        popl %ebx
        popl %ebp
        ret

// Where DEMO_CALL_GATE leads: EAX = CS here, EBX = the parameter the gate copied, ECX = the caller's CS.
        .globl CallGateTarget
CallGateTarget:
        movl %cs, %eax
        movl 8(%esp), %ebx
        movl 4(%esp), %ecx
        lret $4

        .bss
        .balign 4
kernel_resume_esp:
        .skip 4
