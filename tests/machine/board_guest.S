// A guest that touches the board in every way an engine has to pass on: ports one by one and in strings, memory with no
// device, HLT with timer interrupts, A20, and a reset. Prints a line for each on COM1. It resets itself once, told by a
// CMOS byte, and the second time leaves by isa-debug-exit. Uses no instruction that only some kinds of /dev/kvm execute.
        .set MAGIC, 0x1BADB002
        .set SERIAL, 0x3F8
        .set DEBUG_CONSOLE, 0xE9
        .set DEBUG_EXIT, 0xF4
        .set CMOS, 0x70
        .set CMOS_MARK, 0x50             // battery-backed RAM
        .set MARK, 0x5A
        .set RESET_CONTROL, 0xCF9
        .set SYSTEM_CONTROL_A, 0x92
        .set A20_ON, 2
        .set TICKS, 20
        .set PIT_DIVISOR, 1193           // 1 ms
        .set TIMER_VECTOR, 0x20
        .set INTERRUPT_GATE, 0x8E00
        .set EVEN_MEGABYTE, 0x400000
        .set ODD_MEGABYTE, 0x500000
        .set COPY, 0x200000              // of code that runs while odd megabytes are out of reach
        .set NOTHING, 0xA0000

        .section .multiboot, "a"
        .balign 4
        .long MAGIC, 0, -MAGIC

        .text
        .globl Start
Start:  movl $stack_top, %esp
        movb $CMOS_MARK, %al
        outb %al, $CMOS
        inb $CMOS + 1, %al
        cmpb $MARK, %al
        je Again

        movl NOTHING, %eax
        incl %eax                        // all ones
        jnz Fail
        movl $nothing_text, %esi
        call Print

        movw $DEBUG_CONSOLE, %dx
        movl $strings_text, %esi
        movl $strings_end - strings_text, %ecx
        cld
        rep outsb
        movl $buffer, %edi
        movl $3, %ecx
        rep insb                         // the console's port reads as its own number
        cmpb $DEBUG_CONSOLE, buffer + 2
        jne Fail

        movl $CopyBegin, %esi
        movl $COPY, %edi
        movl $CopyEnd - CopyBegin, %ecx
        rep movsb
        movl $COPY, %eax
        call *%eax
        cmpl $0x2211, %ebx
        jne Fail
        movl $a20_text, %esi
        call Print

        call Timer
        movl $timer_text, %esi
        call Print

        movb $CMOS_MARK, %al
        outb %al, $CMOS
        movb $MARK, %al
        outb %al, $CMOS + 1
        movw $RESET_CONTROL, %dx
        movb $2, %al
        outb %al, %dx
        movb $6, %al
        outb %al, %dx
Fail:   movl $fail_text, %esi
        call Print
        movb $1, %al
        outb %al, $DEBUG_EXIT
1:      hlt
        jmp 1b

Again:  movl $again_text, %esi
        call Print
        movb $0x15, %al
        outb %al, $DEBUG_EXIT
1:      hlt
        jmp 1b

// EBX: what an odd megabyte shows without A20 in BL, and with it in BH.
CopyBegin:
        movb $0x11, EVEN_MEGABYTE
        movb $0x22, ODD_MEGABYTE
        inb $SYSTEM_CONTROL_A, %al
        andb $~A20_ON, %al
        outb %al, $SYSTEM_CONTROL_A
        movb ODD_MEGABYTE, %bl
        orb $A20_ON, %al
        outb %al, $SYSTEM_CONTROL_A
        movb ODD_MEGABYTE, %bh
        movzwl %bx, %ebx
        ret
CopyEnd:

Timer:  movl $TimerHandler, %eax
        movw %ax, idt + 8 * TIMER_VECTOR
        movw %cs, idt + 8 * TIMER_VECTOR + 2
        movw $INTERRUPT_GATE, idt + 8 * TIMER_VECTOR + 4
        shrl $16, %eax
        movw %ax, idt + 8 * TIMER_VECTOR + 6
        lidt idt_register
        movb $0x11, %al                  // ICW1..4: edge, cascade, vectors from 20h
        outb %al, $0x20
        movb $TIMER_VECTOR, %al
        outb %al, $0x21
        movb $4, %al
        outb %al, $0x21
        movb $1, %al
        outb %al, $0x21
        movb $0xFE, %al                  // the timer alone
        outb %al, $0x21
        movb $0x34, %al                  // counter 0, mode 2
        outb %al, $0x43
        movb $PIT_DIVISOR & 0xFF, %al
        outb %al, $0x40
        movb $PIT_DIVISOR >> 8, %al
        outb %al, $0x40
        movl $0, ticks
1:      sti
        hlt
        cli
        cmpl $TICKS, ticks
        jb 1b
        movb $0xFF, %al
        outb %al, $0x21
        ret

// Returns without IRET, and with interrupts off: one between POPF and the jump would lose the address.
TimerHandler:
        andl $~0x200, 8(%esp)
        pushl %eax
        incl ticks
        movb $0x20, %al
        outb %al, $0x20
        popl %eax
        popl return_eip
        addl $4, %esp
        popfl
        jmp *return_eip

Print:  movw $SERIAL, %dx
1:      lodsb
        testb %al, %al
        jz 2f
        outb %al, %dx
        jmp 1b
2:      ret

        .section .rodata, "a"
nothing_text: .asciz "nothing there reads as ones\n"
a20_text:     .asciz "A20 cuts addresses\n"
timer_text:   .asciz "the timer ticks\n"
again_text:   .asciz "up again\n"
fail_text:    .asciz "FAILED\n"
strings_text: .ascii "strings\n"
strings_end:
        .balign 4
idt_register: .word 64 * 8 - 1
        .long idt

        .bss
        .balign 16
idt:    .skip 64 * 8
ticks:  .skip 4
return_eip: .skip 4
buffer: .skip 4
        .skip 4096
stack_top:
