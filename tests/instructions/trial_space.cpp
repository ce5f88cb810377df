#include "tests/instructions/trial_space.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "monitor/cpu/guest_decoder.h"
#include "tests/oracle/comparable.h"

namespace ring3 {
namespace {

constexpr uint8_t kEscape = 0x0F, kMap38 = 0x38, kMap3A = 0x3A, kModRegister = 0xC0;

bool IsPrefix(unsigned byte) {
  constexpr uint8_t kPrefixes[] = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3};
  return std::find(std::begin(kPrefixes), std::end(kPrefixes), byte) != std::end(kPrefixes);
}

class Enumeration {
 public:
  std::vector<EncodingRow> Run() {
    const std::vector<Bytes> mandatory = {{}, {0x66}, {0xF2}, {0xF3}};
    Map({{}, {0x66}}, {});
    Map(mandatory, {kEscape});
    Map(mandatory, {kEscape, kMap38});
    Map(mandatory, {kEscape, kMap3A});
    return std::move(rows_);
  }

 private:
  void Map(const std::vector<Bytes>& prefixes, const Bytes& escape) {
    for (const Bytes& prefix : prefixes) {
      for (unsigned opcode = 0; opcode < 256; ++opcode) {
        if (escape.empty() && (IsPrefix(opcode) || opcode == kEscape)) continue;
        if (escape.size() == 1 && (opcode == kMap38 || opcode == kMap3A)) continue;
        Bytes bytes = prefix;
        bytes.insert(bytes.end(), escape.begin(), escape.end());
        bytes.push_back(static_cast<uint8_t>(opcode));
        Opcode(bytes);
      }
    }
  }

  /// Adds a row for each instruction that the ModRM bytes behind the opcode select.
  void Opcode(const Bytes& opcode) {
    std::map<std::tuple<ZydisMnemonic, OperandForm, bool>, EncodingRow> found;
    for (unsigned modrm = 0; modrm < 256; ++modrm) {
      const bool register_form = modrm >= kModRegister;
      if (!register_form && (modrm & 0xC7) != 0) continue;
      EncodingRow row{.opcode = opcode, .form = register_form ? OperandForm::kRegister : OperandForm::kMemory};
      Bytes code = opcode;
      code.push_back(static_cast<uint8_t>(modrm));
      code.insert(code.end(), 12, 0);
      ZydisDecodedInstruction insn;
      if (ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder_, nullptr, code.data(), code.size(), &insn))) {
        row.mnemonic = insn.mnemonic;
        row.offered = OfferedByMax(insn.meta.isa_set);
        if (!(insn.attributes & ZYDIS_ATTRIB_HAS_MODRM)) row.form = OperandForm::kNone;
      }
      EncodingRow& known = found.emplace(std::tuple(row.mnemonic, row.form, row.offered), row).first->second;
      known.modrm.push_back(static_cast<uint8_t>(modrm));
    }
    for (auto& [key, row] : found) rows_.push_back(std::move(row));
  }

  ZydisDecoder decoder_ = MakeGuestDecoder(DecoderKind::Of(FindCpuModel("max"), true));
  std::vector<EncodingRow> rows_;
};

}  // namespace

std::string EncodingRow::Name() const {
  constexpr const char* kForms[] = {"", " reg", " mem"};
  std::string name;
  for (uint8_t byte : opcode) name += fmt::format("{:02x} ", byte);
  const char* text = mnemonic == ZYDIS_MNEMONIC_INVALID ? "(nothing)" : ZydisMnemonicGetString(mnemonic);
  return name + text + kForms[static_cast<unsigned>(form)];
}

const std::vector<EncodingRow>& AllRows() {
  static const std::vector<EncodingRow> rows = Enumeration().Run();
  return rows;
}

std::string AddressForm::Name() const {
  return fmt::format("{} mod {} rm {}{}", address16 ? "16-bit" : "32-bit", mod, rm,
                     HasSib() ? fmt::format(" sib {:02x}", sib) : "");
}

const std::vector<AddressForm>& AllAddressForms() {
  static const std::vector<AddressForm> forms = [] {
    std::vector<AddressForm> all;
    for (uint8_t mod = 0; mod < 3; ++mod) {
      for (uint8_t rm = 0; rm < 8; ++rm) {
        AddressForm form{.mod = mod, .rm = rm};
        for (unsigned sib = 0; sib < (form.HasSib() ? 256u : 1u); ++sib) {
          form.sib = static_cast<uint8_t>(sib);
          all.push_back(form);
        }
        all.push_back({.address16 = true, .mod = mod, .rm = rm});
      }
    }
    return all;
  }();
  return forms;
}

}  // namespace ring3
