// The paths come from the build.
        .macro image name, path
        .balign 16
        .globl ring3_bench_\name\()_begin, ring3_bench_\name\()_end
ring3_bench_\name\()_begin:
        .incbin "\path"
ring3_bench_\name\()_end:
        .endm

        .section .rodata
        image nano_kernel, NANO_KERNEL
        image nano_native, NANO_NATIVE
        image programs, PROGRAMS
        image page, PAGE
        image ablation_page, ABLATION_PAGE
