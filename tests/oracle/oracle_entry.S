// void EnterCompatibilityMode(OracleContext*): loads the 32-bit state and leaves by IRETQ. The signal handler comes back
// through LeaveCompatibilityMode with rsp as it was saved. Offsets are asserted in oracle.cpp.
#define CTX_ESP 16
#define CTX_EIP 32
#define CTX_EFLAGS 36
#define CTX_HOST_RSP 40
#define CTX_FXSAVE 64
#define USER32_CS 0x23
#define USER_DS 0x2b

    .text
    .globl ring3_oracle_enter
    .type ring3_oracle_enter, @function
ring3_oracle_enter:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    sub $8, %rsp
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    mov %rsp, CTX_HOST_RSP(%rdi)
    mov $USER_DS, %eax
    mov %eax, %ds
    mov %eax, %es
    fxrstor CTX_FXSAVE(%rdi)
    mov %rdi, %r8
    push $USER_DS
    mov CTX_ESP(%r8), %eax
    push %rax
    mov CTX_EFLAGS(%r8), %eax
    push %rax
    push $USER32_CS
    mov CTX_EIP(%r8), %eax
    push %rax
    mov 0(%r8), %eax
    mov 4(%r8), %ecx
    mov 8(%r8), %edx
    mov 12(%r8), %ebx
    mov 20(%r8), %ebp
    mov 24(%r8), %esi
    mov 28(%r8), %edi
    iretq
    .size ring3_oracle_enter, . - ring3_oracle_enter

    .globl ring3_oracle_leave
    .type ring3_oracle_leave, @function
ring3_oracle_leave:
    fninit
    fldcw 4(%rsp)
    ldmxcsr (%rsp)
    add $8, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .size ring3_oracle_leave, . - ring3_oracle_leave

    .section .note.GNU-stack, "", @progbits
