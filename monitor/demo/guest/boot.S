// Entry from a Multiboot 1 loader: protected mode, flat segments, paging off, EAX = magic, EBX = information structure.
        .set MAGIC, 0x1BADB002
        .set FLAGS, 3                     // bit 0: page-aligned modules, bit 1: memory information wanted
        .set STACK_BYTES, 16384

        .section .multiboot, "a"
        .balign 4
        .long MAGIC, FLAGS, -(MAGIC + FLAGS)

        .text
        .globl Start
Start:  cld
        movl $boot_stack_top, %esp
        pushl $0
        popfl
        pushl %ebx
        pushl %eax
        call GuestMain
1:      cli
        hlt
        jmp 1b

        .bss
        .balign 16
        .skip STACK_BYTES
boot_stack_top:
