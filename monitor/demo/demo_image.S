// DEMO_KERNEL_PATH comes from the build.
        .section .rodata
        .balign 16
        .globl ring3_demo_kernel_begin, ring3_demo_kernel_end
ring3_demo_kernel_begin:
        .incbin DEMO_KERNEL_PATH
ring3_demo_kernel_end:
