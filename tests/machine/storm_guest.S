// A guest for the signal storm: a loop over instructions whose translations are more than one host instruction, which
// folds all they compute, flags included, into a checksum. Writes the checksum to the E9h console and leaves by
// isa-debug-exit. Nothing in it depends on time.
        .set MAGIC, 0x1BADB002
        .set ROUNDS, 40000
        .set DEBUG_CONSOLE, 0xE9
        .set DEBUG_EXIT, 0xF4
        .set INTERRUPT_GATE, 0x8E00
        .set VECTOR_UD, 6
        .set CARRY_AND_ZERO, 0x41
        .set CR4_OSFXSR, 0x200

        .section .multiboot, "a"
        .balign 4
        .long MAGIC, 0, -MAGIC

        .text
        .globl Start
Start:  movl $stack_top, %esp
        movb $0xFF, %al                  // no interrupts from the PICs
        outb %al, $0x21
        outb %al, $0xA1
        movl $InvalidOpcode, %eax
        movw %ax, idt + 8 * VECTOR_UD
        movw %cs, idt + 8 * VECTOR_UD + 2
        movw $INTERRUPT_GATE, idt + 8 * VECTOR_UD + 4
        shrl $16, %eax
        movw %ax, idt + 8 * VECTOR_UD + 6
        lidt idt_register
        fninit
        movl %cr4, %eax
        orl $CR4_OSFXSR, %eax
        movl %eax, %cr4
        xorl %ecx, %ecx
        xorl %ebp, %ebp                  // the checksum
        movl $ROUNDS, counter

Round:
        .byte 0xF0, 0x90                 // LOCK NOP: #UD, without a translation
        ud2
        addl %eax, %ebp
        sti
        adcl $0x1234567, %ebp
        cli
        pushfl
        popl %ebx
        andl $CARRY_AND_ZERO, %ebx
        addl %ebx, %ebp
        cmpl %ebp, counter
        pushfl
        addl $1, %ebp
        popfl
        adcl $0, %ebp
        call Function
        addl %eax, %ebp
        leal Indirect, %ebx
        call *%ebx
        leal source, %esi
        leal target + 1, %edi
        movl $37, %ecx
        movl %ebp, (%esi)
        rep movsb
        std
        decl %edi
        decl %esi
        movl $20, %ecx
        repe cmpsb
        cld
        addl %ecx, %ebp
        movl target + 1, %eax
        addl %eax, %ebp
        pushal
        popal
        enter $16, $0
        movl 4(%esp), %eax
        leave
        fildl counter
        fld1
        faddp
        fistpl target
        addl target, %ebp
        movd %ebp, %xmm3
        paddd %xmm3, %xmm3
        movd %xmm3, %eax
        xorl %eax, %ebp
        movw $5, %cx
1:      roll $3, %ebp
        loopw 1b
        rdtsc                            // only that it leaves the rest alone
        xorl %eax, %eax
        xorl %edx, %edx
        jmp Crossing

Function:
        pushl %ebp
        movl %esp, %ebp
        subl $24, %esp
        movl %ecx, -8(%ebp)
        movl -8(%ebp), %eax
        addl $7, %eax
        leave
        ret
Indirect:
        addl $3, %ebp
        ret $0

        .balign 4096
        .skip 4093, 0x90
Crossing:
        addl $0x76543210, %ebp           // six bytes, three of them on the next page
        decl counter
        jnz Round
        movl $4, %ecx
2:      movl %ebp, %eax
        outb %al, $DEBUG_CONSOLE
        shrl $8, %ebp
        loop 2b
        movb $0x10, %al
        outb %al, $DEBUG_EXIT
3:      hlt
        jmp 3b

// Goes on behind the two bytes that were not an instruction.
InvalidOpcode:
        addl $2, (%esp)
        leal 5(%ebp,%ebp,2), %ebp
        iret

        .data
counter: .long 0
idt_register: .word 8 * 32 - 1
        .long idt
        .bss
        .balign 16
idt:    .skip 8 * 32
source: .skip 64
target: .skip 64
        .skip 4096
stack_top:
