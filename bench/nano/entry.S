// Handlers, as short as handlers can be, and the loops that run at CPL 3. DS and ES hold the user data segment always.
        .set USER_CODE, 0x1B
        .set USER_DATA, 0x23
        .set MAIN_TSS, 0x28
        .set PIC_COMMAND, 0x20
        .set PIC_EOI, 0x20
        .set UART_INTERRUPT_ENABLE, 0x3F9
        .set UART_INTERRUPT_IDENTITY, 0x3FA

        .text
// void RunUser(const void* entry, const UserRegisters*)
        .globl RunUser
RunUser:
        pushl %ebp
        pushl %ebx
        pushl %esi
        pushl %edi
        movl 20(%esp), %edx
        movl 24(%esp), %ebx
        movl %esp, resume_esp
        movl 0(%ebx), %eax
        movl 4(%ebx), %ecx
        movl 8(%ebx), %esi
        movl 12(%ebx), %edi
        pushl $USER_DATA
        pushl $user_stack_top
        pushfl
        pushl $USER_CODE
        pushl %edx
        iret

        .globl HandleUserDone, HandleSystemCall, HandleSysenter, HandleYield, HandleDivide, HandleDemandZero
        .globl HandleTimer, HandleUart, OtherTask, FarTarget
HandleUserDone:
        movl resume_esp, %esp
        popl %edi
        popl %esi
        popl %ebx
        popl %ebp
        ret

HandleSystemCall:
        iret

HandleSysenter:
        sysexit

// INT 83h: the other address space.
HandleYield:
        pushl %eax
        pushl %edx
        movl current_space, %eax
        movl other_space, %edx
        movl %edx, current_space
        movl %eax, other_space
        movl %edx, %cr3
        popl %edx
        popl %eax
        iret

HandleDivide:
        addl $2, (%esp)                   // over DIV ECX
        iret

// A zeroed frame for the page at CR2 of the first address space.
HandleDemandZero:
        pushl %eax
        pushl %ecx
        pushl %edi
        movl next_frame, %edi
        addl $4096, next_frame
        xorl %eax, %eax
        movl $1024, %ecx
        rep stosl
        movl %cr2, %eax
        shrl $12, %eax
        andl $1023, %eax
        subl $4096 - 7, %edi              // present, writable, user
        movl demand_table, %ecx
        movl %edi, (%ecx, %eax, 4)
        popl %edi
        popl %ecx
        popl %eax
        addl $4, %esp
        iret

HandleTimer:
        pushl %eax
        incl timer_count
        movb $PIC_EOI, %al
        outb %al, $PIC_COMMAND
        popl %eax
        iret

// The UART asked because its transmitter is empty.
HandleUart:
        pushl %eax
        pushl %edx
        movw $UART_INTERRUPT_IDENTITY, %dx
        inb %dx, %al
        movw $UART_INTERRUPT_ENABLE, %dx
        xorl %eax, %eax
        outb %al, %dx
        incl uart_count
        movb $PIC_EOI, %al
        outb %al, $PIC_COMMAND
        popl %edx
        popl %eax
        iret

OtherTask:
        ljmp $MAIN_TSS, $0
        jmp OtherTask

FarTarget:
        lret

// --- CPL 3: ESI rounds ---
        .section .probes, "ax"
        .globl UserSystemCalls, UserSysenters, UserTouch, UserSwitches
UserSystemCalls:
        int $0x80
        decl %esi
        jnz UserSystemCalls
        int $0x81

UserSysenters:
        movl %esp, %ecx
        movl $1f, %edx
        sysenter
1:      decl %esi
        jnz UserSysenters
        int $0x81

// Writes to ESI pages from EAX on.
UserTouch:
        incl (%eax)
        addl $4096, %eax
        decl %esi
        jnz UserTouch
        int $0x81

// ESI times: writes to EDI pages from 40000000 on, then yields.
UserSwitches:
        movl $0x40000000, %eax
        movl %edi, %ecx
1:      incl (%eax)
        addl $4096, %eax
        decl %ecx
        jnz 1b
        int $0x83
        decl %esi
        jnz UserSwitches
        int $0x81

        .section .user_data, "aw"
        .skip 4096
user_stack_top:

        .data
        .globl current_space, other_space, next_frame, demand_table, timer_count, uart_count
current_space:  .long 0
other_space:    .long 0
next_frame:     .long 0
demand_table:   .long 0
timer_count:    .long 0
uart_count:     .long 0
resume_esp:     .long 0
