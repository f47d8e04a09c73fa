// TLS with a certificate made here by OpenSSL.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "http/client.h"
#include "http/server.h"
#include "http/test_client.h"

namespace tw::http {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

template <typename Write>
void write_pem(const std::string& path, Write write) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  write(file);
  std::fclose(file);
}

/// A self-signed certificate for 127.0.0.1, valid for an hour.
void make_certificate(const std::string& cert_path, const std::string& key_path) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* cert = X509_new();
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -60);
  X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
  X509_set_pubkey(cert, key);
  X509_NAME* name = X509_get_subject_name(cert);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("test"), -1, -1,
                             0);
  X509_set_issuer_name(cert, name);
  X509_EXTENSION* names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1");
  X509_add_ext(cert, names, -1);
  X509_sign(cert, key, EVP_sha256());
  write_pem(cert_path, [&](std::FILE* file) { PEM_write_X509(file, cert); });
  write_pem(key_path,
            [&](std::FILE* file) { PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr); });
  X509_EXTENSION_free(names);
  X509_free(cert);
  EVP_PKEY_free(key);
}

class TlsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "tls_test." + std::to_string(::getpid());
    std::filesystem::create_directories(folder_);
    options_.port = 0;
    options_.tls_cert = folder_ + "/cert.pem";
    options_.tls_key = folder_ + "/key.pem";
    client_.ca_file = options_.tls_cert;
    make_certificate(options_.tls_cert, options_.tls_key);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void start() {
    auto server = Server::create(options_);
    ASSERT_TRUE(server.ok()) << server.error().text();
    server_ = std::move(*server);
    server_->route("POST", "/echo", [](auto e) { e->respond({200, "text/plain", e->request().body, {}}); });
    server_->route("GET", "/events", [](auto exchange) {
      exchange->begin_stream(200, "text/event-stream");
      for (int i = 0; i < 3; ++i) exchange->write(std::string(100'000, static_cast<char>('a' + i)));
      exchange->end_stream();
    });
    server_->route("GET", "/hold", [this](auto exchange) {
      exchange->begin_stream(200, "text/event-stream");
      exchange->write("first");
      exchange->on_cancel([this] {
        const std::lock_guard lock(mutex_);
        cancelled_ = true;
        changed_.notify_all();
      });
      const std::lock_guard lock(mutex_);
      held_ = exchange;
    });
    server_->start();
  }

  std::string folder_;
  ServerOptions options_;
  ClientOptions client_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
  std::shared_ptr<Exchange> held_;
  std::unique_ptr<Server> server_;
};

TEST_F(TlsTest, ServesOverTls) {
  start();
  EXPECT_THAT(server_->url(), HasSubstr("https://127.0.0.1:"));
  const std::string big(1'000'000, 'x');
  const auto echoed = post(server_->url() + "/echo", {}, big, client_);
  ASSERT_TRUE(echoed.ok()) << echoed.error().text();
  EXPECT_EQ(echoed->body, big);
  std::string all;
  const auto streamed = stream(
      server_->url() + "/events", {}, std::nullopt,
      [&](std::string_view piece) {
        all += piece;
        return true;
      },
      client_);
  ASSERT_TRUE(streamed.ok()) << streamed.error().text();
  EXPECT_EQ(all.size(), 300'000u);
}

TEST_F(TlsTest, UntrustedCertificatesAreRefusedByOurClient) {
  start();
  client_.ca_file.clear();
  const auto got = get(server_->url() + "/events", {}, client_);
  ASSERT_FALSE(got.ok());
  EXPECT_THAT(got.error().text(), HasSubstr("not trusted"));
}

TEST_F(TlsTest, PlainTextAndGarbageOnATlsPortHarmNobody) {
  options_.header_timeout = 1s;
  start();
  RawClient plain(server_->port());
  plain.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  plain.read_all();
  EXPECT_TRUE(plain.peer_closed());
  RawClient silent(server_->port());
  silent.read_all();
  EXPECT_TRUE(silent.peer_closed()) << "a handshake that does not come is timed out";
  EXPECT_TRUE(post(server_->url() + "/echo", {}, "x", client_).ok());
}

TEST_F(TlsTest, ADisconnectIsNoticed) {
  start();
  const auto ended =
      stream(server_->url() + "/hold", {}, std::nullopt, [](std::string_view) { return false; }, client_);
  EXPECT_FALSE(ended.ok());
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(changed_.wait_for(lock, 20s, [&] { return cancelled_; }));
}

TEST_F(TlsTest, StopsWhileConnectionsAreOpen) {
  start();
  std::thread client([&] {
    (void)stream(server_->url() + "/hold", {}, std::nullopt, [](std::string_view) { return true; }, client_);
  });
  for (int i = 0; i < 500; ++i) {
    std::this_thread::sleep_for(10ms);
    const std::lock_guard lock(mutex_);
    if (held_) break;
  }
  server_->stop();
  client.join();
  EXPECT_TRUE(cancelled_);
}

TEST_F(TlsTest, NamesTheFileThatCannotBeUsed) {
  ServerOptions half = options_;
  half.tls_key.clear();
  EXPECT_THAT(Server::create(half).error().text(), HasSubstr("both --tls-cert and --tls-key"));
  ServerOptions missing = options_;
  missing.tls_cert = folder_ + "/no.pem";
  EXPECT_THAT(Server::create(missing).error().text(), HasSubstr("no.pem"));
  EXPECT_THAT(Server::create(missing).error().text(), HasSubstr("No such file"));
  make_certificate(folder_ + "/other.pem", folder_ + "/other-key.pem");
  options_.tls_key = folder_ + "/other-key.pem";
  EXPECT_THAT(Server::create(options_).error().text(), HasSubstr("other-key.pem"));
}

}  // namespace
}  // namespace tw::http
