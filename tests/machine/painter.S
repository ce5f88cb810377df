// A boot sector that draws with the video BIOS: sixteen bars, each in its number's colour of mode 13h. Each key then paints
// the lower half of the screen in the colour that the low four bits of its character name.
        .set MODE_320_BY_200, 0x13
        .set SCREEN, 0xA000
        .set WIDTH, 320
        .set HEIGHT, 200
        .set BAR, WIDTH / 16

        .text
        .code16
        xorw %ax, %ax
        movw %ax, %ss
        movw $0x7C00, %sp
        cld
        movw $MODE_320_BY_200, %ax
        int $0x10
        movw $SCREEN, %ax
        movw %ax, %es
        xorw %di, %di
Row:    xorb %al, %al
1:      movw $BAR, %cx
        rep stosb
        incb %al
        cmpb $16, %al
        jne 1b
        cmpw $WIDTH * HEIGHT, %di
        jne Row
Key:    xorb %ah, %ah
        int $0x16
        andb $15, %al
        movw $WIDTH * HEIGHT / 2, %di
        movw $WIDTH * HEIGHT / 2, %cx
        rep stosb
        jmp Key

        .org 510
        .word 0xAA55
