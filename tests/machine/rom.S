// A firmware image of 64 KiB: from the reset vector through real mode to flat protected mode, at both places where a PC
// shows its ROM. Writes what it sees to the E9h console and COM1, and leaves by isa-debug-exit.
        .set ROM, 0xF0000                // where it is linked
        .set TOP, 0xFFF00000             // from there to its other place, below 4 GiB
        .set STACK, 0x7000
        .set STORES, 20000
        .set DEBUG_CONSOLE, 0xE9
        .set COM1, 0x3F8
        .set DEBUG_EXIT, 0xF4
        .set CODE, 8
        .set DATA, 16

        .text
First:  .long 0x600DF00D

        .code16
Start:  cld
        xorw %ax, %ax
        movw %ax, %ss
        movw $STACK, %sp
        movw %ax, %es
        movw %cs, %ax
        movw %ax, %ds
        cmpb $6, %dh                     // the processor's family, as RESET leaves it
        jb Fail16
        xorw %di, %di                    // RAM is zero
        xorl %eax, %eax
        movw $STACK / 4, %cx
        repe scasl
        jne Fail16
        movl $0, First - First             // ROM isn't written to
        cmpl $0x600DF00D, First - First
        jne Fail16
        movw $real - First, %si
        movw $DEBUG_CONSOLE, %dx
0:      lodsb
        outb %al, %dx
        cmpb $'\n', %al
        jne 0b
        lgdtl gdt_register - First
        movl %cr0, %eax
        orb $1, %al
        movl %eax, %cr0
        ljmpl $CODE, $Low
Fail16: movw $1, %ax
        movw $DEBUG_EXIT, %dx
        outb %al, %dx
        hlt

        .code32
Low:    movw $DATA, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movl $STACK, %esp
        movl $ROM, %ebx
        call Check
        movl $High + TOP, %eax           // the same code at the other place
        jmp *%eax
High:   movl $ROM + TOP, %ebx
        call Check
        call 1f                          // where does it run?
1:      popl %eax
        shrl $20, %eax
        cmpl $0xFFF, %eax
        jne Fail
        cmpl $-1, ROM + TOP - 0x10000    // below the image lies nothing
        jne Fail
        movl $protected, %esi
        movl $COM1, %edx
0:      lodsb
        outb %al, %dx
        cmpb $'\n', %al
        jne 0b
        movb $0x10, %al
        jmp Leave
Fail:   movb $2, %al
Leave:  movl $DEBUG_EXIT, %edx
        outb %al, %dx
        hlt

// All of the image at EBX can be read; stores to it change nothing, however many.
Check:  movl %ebx, %esi
        movl $ROM, %edi
        movl $0x4000, %ecx
        repe cmpsl
        jne Fail
        movl $STORES, %ecx
0:      movl %ecx, (%ebx)
        addl $1, 4(%ebx)
        loop 0b
        movl %ebx, %edi
        movl $0x4000, %ecx
        xorl %eax, %eax
        rep stosl
        cmpl $0x600DF00D, (%ebx)
        jne Fail
        ret

        .balign 8
gdt:    .quad 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF
gdt_register:
        .word . - gdt - 1
        .long gdt
real:   .ascii "rom: real mode\n"
protected:
        .ascii "rom: protected mode\n"

        .code16
        .org 0xFFF0
        ljmpw $0xF000, $Start - First
        .org 0x10000
